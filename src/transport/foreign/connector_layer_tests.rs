//! The connector layer over connectors made by the tests. Its tests with sockets are in `tests/sockets/adapters`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::*;
use crate::clock;
use crate::hop::Kind;
use crate::telemetry::AttemptSpans;

fn layer(filter: AddressFilter) -> ConnectorLayer {
    let timeouts = Timeouts::new(Duration::from_secs(10)).unwrap();
    ConnectorLayer {
        filter,
        timeouts,
        proxied: false,
        single_leg: false,
    }
}

/// Returns the error of a refused connector.
async fn refused(filter: AddressFilter, seen: Option<Seen>) -> Error {
    refused_by(&layer(filter), seen).await
}

async fn refused_by(layer: &ConnectorLayer, seen: Option<Seen>) -> Error {
    let refuses = async || Err::<Nothing, _>(io::Error::from(io::ErrorKind::ConnectionRefused));
    let error = layer.begin(seen, refuses).await.unwrap_err();
    Error::ours(error).unwrap()
}

fn seen() -> Option<Seen> {
    let url: Url = "https://api.test:8443/v1?key=secret".parse().unwrap();
    Seen::of_url(&url)
}

#[tokio::test(start_paused = true)]
async fn failed_connect_proves_nothing_if_the_client_may_have_followed_a_redirect() {
    for (single_leg, effect) in [(true, Effect::None), (false, Effect::Possible)] {
        let with = |filter| ConnectorLayer {
            single_leg,
            ..layer(filter)
        };
        let error = refused_by(&with(AddressFilter::new()), seen()).await;
        assert_eq!((error.kind(), error.effect()), (Kind::Refused, effect));
        assert!(!format!("{error:?}").contains("secret"));
        let error = refused_by(&with(AddressFilter::public_only()), None).await;
        assert_eq!((error.kind(), error.effect()), (Kind::Filtered, effect));
    }
}

#[tokio::test(start_paused = true)]
async fn failed_connect_after_a_wait_may_be_the_next_leg_of_a_redirect() {
    let timeouts = Timeouts::new(Duration::from_secs(10)).unwrap();
    for (waited, effect) in [(false, Effect::None), (true, Effect::Possible)] {
        let spans = AttemptSpans::default();
        let tracker = Arc::new(Tracker::new(timeouts, spans, clock::now()));
        if waited {
            tracker.waiting(clock::now());
        }
        let refused = refused(AddressFilter::new(), seen());
        let error = tracker::scope(Arc::clone(&tracker), refused).await;
        assert_eq!((error.hop(), error.effect()), (Some(Hop::Connect), effect));
    }
}

#[tokio::test(start_paused = true)]
async fn filter_refuses_a_destination_that_it_cannot_see() {
    let error = refused(AddressFilter::public_only(), None).await;
    assert_eq!(
        (error.hop(), error.kind()),
        (Some(Hop::Dns), Kind::Filtered)
    );
    assert_eq!(
        refused(AddressFilter::new(), None).await.kind(),
        Kind::Refused
    );
}

#[tokio::test(start_paused = true)]
async fn setup_without_our_resolver_is_a_connect_and_ends() {
    let hangs = || std::future::pending::<Result<Nothing, io::Error>>();
    let begun = clock::now();
    let arriving = layer(AddressFilter::new()).begin(seen(), hangs);
    let error = arriving.await.unwrap_err();
    let error = Error::ours(error).unwrap();
    assert_eq!(
        (error.hop(), error.kind()),
        (Some(Hop::Connect), Kind::Timeout)
    );
    let connect = layer(AddressFilter::new()).timeouts.connect();
    assert_eq!(clock::now() - begun, connect);
}

/// The type of a connection that is never made.
#[derive(Debug)]
enum Nothing {}

impl Connection for Nothing {
    fn connected(&self) -> hyper_util::client::legacy::connect::Connected {
        match *self {}
    }
}
