//! The layer around reqwest's connector, over connectors made by the tests.

use std::io;

use hyper_util::client::legacy::connect::Connected;
use tower::{ServiceExt, service_fn};

use super::*;
use crate::dns::AddressFilter;
use crate::error::Error;
use crate::hop::Kind;

/// Returns the kind of the failure of a refused connector. It asks for the proxy when it is called, or later.
async fn refused(filter: AddressFilter, url: &str, asks_later: bool) -> Kind {
    let timeouts = Timeouts::new(Duration::from_secs(10)).unwrap();
    let layer = BareLayer(ConnectorLayer {
        filter,
        timeouts,
        proxied: false,
        single_leg: true,
    });
    let connector = service_fn(move |url: Url| {
        if !asks_later {
            note(&url);
        }
        async move {
            note(&url);
            Err::<Nothing, _>(io::Error::from(io::ErrorKind::ConnectionRefused))
        }
    });
    let url: Url = url.parse().unwrap();
    let error = layer.layer(connector).oneshot(url).await.unwrap_err();
    Error::ours(error).unwrap().kind()
}

#[tokio::test(start_paused = true)]
async fn filter_judges_the_url_for_which_the_connector_asks_a_proxy() {
    let public = AddressFilter::public_only;
    let private = "http://127.0.0.1/";
    assert_eq!(refused(public(), private, false).await, Kind::Filtered);
    let open = "http://5.6.7.8/";
    assert_eq!(refused(public(), open, false).await, Kind::Refused);
}

#[tokio::test(start_paused = true)]
async fn connector_that_asks_too_late_is_refused_where_there_is_a_filter() {
    let open = "http://5.6.7.8/";
    let filter = AddressFilter::public_only();
    assert_eq!(refused(filter, open, true).await, Kind::Filtered);
    assert_eq!(
        refused(AddressFilter::new(), open, true).await,
        Kind::Refused
    );
}

/// The type of a connection that is never made.
#[derive(Debug)]
enum Nothing {}

impl Connection for Nothing {
    fn connected(&self) -> Connected {
        match *self {}
    }
}
