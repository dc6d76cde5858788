//! Tests callbacks of the client and its transport, on real sockets.

use std::net::IpAddr;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use sevenhops::dns::{self, NameHold, Refresh, Resolution, Resolve};
use sevenhops::telemetry::{Link, Propagator};
use sevenhops::testing::{CannedResponse, ClosedPort};
use sevenhops::{Client, Effect, Error, Hop, Kind};

use super::calls::{SECRET, panics};
use super::log::Told;
use crate::net::{Net, url};

#[tokio::test]
async fn client_has_the_response_of_a_post_whose_on_complete_panics() {
    let (told, _guard) = Told::listen();
    let net = Net::new().await;
    let server = net.http2().await;
    let client = net.builder().on_complete(|_| panics()).build().unwrap();
    server.on_request([CannedResponse::json("1").status(StatusCode::CREATED).into()]);
    let charge = client.post(url(&server, "https")).body("amount=100");
    assert_eq!(charge.fetch_json::<u8>().await.unwrap(), 1);
    assert_eq!(told.callbacks(), ["ClientBuilder::on_complete"]);
}

/// The method of a resolver that panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Call,
    Wait,
    Hold,
    Suspect,
    SecondLook,
}

#[derive(Debug)]
struct Panicking(At);

impl Resolve for Panicking {
    fn resolve(&self, _host: &str) -> Resolution {
        let here: IpAddr = [127, 0, 0, 1].into();
        match self.0 {
            At::Call => panics(),
            At::Wait => Resolution::Pending(Box::pin(async { panics() })),
            _ => Resolution::Cached(Ok(dns::Answer::new([here], Duration::from_secs(1)).unwrap())),
        }
    }

    fn hold(&self, _host: &str) -> Option<NameHold> {
        match self.0 {
            At::Hold => panics(),
            _ => None,
        }
    }

    fn report_unreachable(&self, _host: &str) -> Option<Refresh> {
        match self.0 {
            At::Suspect => panics(),
            At::Hold => None,
            _ => Some(Box::pin(async { panics() })),
        }
    }
}

/// Returns the error of a call with such a resolver. The connection is refused.
async fn resolved_by(at: At) -> Error {
    let port = ClosedPort::new().unwrap();
    let client = Client::builder(Duration::from_secs(2))
        .transport(|transport| transport.resolver(Panicking(at)));
    let charge = client
        .build()
        .unwrap()
        .post(format!("http://api.test:{}/v1/charges", port.addr().port()));
    charge
        .options(|options| options.retry(false))
        .send()
        .await
        .unwrap_err()
}

#[tokio::test]
async fn resolver_that_panics_fails_the_call_at_dns() {
    for at in [At::Call, At::Wait] {
        let (told, _guard) = Told::listen();
        let error = resolved_by(at).await;
        assert_eq!(
            (error.hop(), error.effect()),
            (Some(Hop::Dns), Effect::None),
            "{at:?}"
        );
        assert!(!format!("{error:?}").contains(SECRET));
        assert_eq!(told.callbacks(), ["Resolve"], "{at:?}");
    }
}

#[tokio::test]
async fn panicking_hold_or_report_unreachable_changes_nothing() {
    for at in [At::Hold, At::Suspect, At::SecondLook] {
        let (told, _guard) = Told::listen();
        let error = resolved_by(at).await;
        assert_eq!(
            (error.hop(), error.kind(), error.effect()),
            (Some(Hop::Connect), Kind::Refused, Effect::None),
            "{at:?}"
        );
        assert_eq!(told.callbacks(), ["Resolve"], "{at:?}");
    }
}

/// A propagator whose links panic.
#[derive(Debug)]
struct Linking {
    here: bool,
}

impl Propagator for Linking {
    fn inject(&self, _span: &tracing::Span, _headers: &mut HeaderMap) {}

    fn link(&self, _span: &tracing::Span) -> Option<Link> {
        match self.here {
            true => panics(),
            false => Some(Link::new(|_| panics())),
        }
    }
}

#[tokio::test]
async fn panicking_link_counts_as_none() {
    for (here, callback) in [(true, "Propagator"), (false, "Link::new")] {
        let (told, _guard) = Told::listen();
        let net = Net::new().await;
        let server = net.http2().await;
        let client = net.builder().trace_propagator(Linking { here });
        let client = client.build().unwrap();
        // The second call uses the connection that the first one has set up.
        for _ in 0..2 {
            let charged = client.post(url(&server, "https")).send().await;
            assert_eq!(charged.unwrap().status(), StatusCode::OK);
        }
        assert_eq!(told.callbacks(), [callback]);
    }
}
