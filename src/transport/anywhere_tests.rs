//! What the connector layer makes of what it is asked and answered; its journeys are in `tests/ways`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tower::{ServiceExt, service_fn};

use super::*;
use crate::clock;
use crate::telemetry::AttemptSpans;

fn layer(filter: Filter) -> ConnectorLayer {
    let limits = Limits::new(Duration::from_secs(10)).unwrap();
    ConnectorLayer {
        filter,
        limits,
        proxied: false,
    }
}

/// What is made of a connector that is refused.
async fn refused<T: Debug>(filter: Filter, target: T) -> Error {
    let refuses = async |_: T| Err::<Nothing, _>(io::Error::from(io::ErrorKind::ConnectionRefused));
    let connector = layer(filter).layer(service_fn(refuses));
    let error = connector.oneshot(target).await.unwrap_err();
    Error::ours(error).unwrap()
}

fn uri() -> Uri {
    Uri::from_static("https://api.test:8443/v1?key=secret")
}

/// As reqwest asks.
#[derive(Debug)]
struct Unnameable(#[expect(dead_code, reason = "it is shown")] Uri);

#[test]
fn destination_is_read_from_what_reqwest_and_hyper_util_ask_with() {
    for seen in [Seen::of(&uri()), Seen::of(&Unnameable(uri()))] {
        let seen = seen.unwrap();
        assert_eq!((&*seen.dial.shown(), seen.port), ("api.test", Some(8443)));
        assert!(seen.is_canonical);
    }
    assert!(Seen::of(&"a socket").is_none());
}

#[test]
fn filter_judges_the_address_that_a_host_of_any_spelling_means() {
    let filter = Filter::public_only();
    for (uri, refused) in [
        ("http://api.test/", false),
        ("http://API.test:8080/", false),
        ("http://api.test./", false),
        ("https://5.6.7.8/", false),
        ("https://[2a00::5]/", false),
        ("http://127.0.0.1/", true),
        ("http://[::1]/", true),
        ("http://[::ffff:127.0.0.1]/", true),
        ("http://127.1/", true),
        ("http://0x7f.1/", true),
        ("http://0177.0.0.1/", true),
        ("http://2130706433/", true),
        // A public address, but what the connector makes of it is not known.
        ("http://84281096/", true),
        ("http://0x05060708/", true),
        ("http://5.6.7.8./", true),
        ("foo://127.0.0.1/", true),
        ("foo://5.6.7.8:80/", true),
        ("unix://2f746d702f61/", true),
        ("ws://api.test/", true),
    ] {
        let target: Uri = uri.parse().unwrap();
        let judged = judge(&filter, Seen::of(&target).as_ref());
        assert_eq!(judged.is_err(), refused, "{uri}: {judged:?}");
        if let Err(error) = judged {
            let told = (error.hop(), error.kind(), error.effect());
            assert_eq!(told, (Some(Hop::Dns), Kind::Filtered, Effect::None));
        }
    }
    assert!(judge(&filter, None).is_err());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_connected_to_had_no_effect() {
    let error = refused(Filter::new(), uri()).await;
    assert_eq!(
        (error.hop(), error.kind()),
        (Some(Hop::Connect), Kind::Refused)
    );
    assert_eq!(error.effect(), Effect::None);
    assert!(!format!("{error:?}").contains("secret"));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_connected_to_after_a_wait_may_be_the_next_leg_of_a_redirect() {
    let limits = Limits::new(Duration::from_secs(10)).unwrap();
    for (waited, effect) in [(false, Effect::None), (true, Effect::Possible)] {
        let spans = AttemptSpans::default();
        let tracker = Arc::new(Tracker::new(limits, spans, clock::now()));
        if waited {
            tracker.waiting(clock::now());
        }
        let refused = refused(Filter::new(), uri());
        let error = tracker::scope(Arc::clone(&tracker), refused).await;
        assert_eq!((error.hop(), error.effect()), (Some(Hop::Connect), effect));
    }
}

#[tokio::test(start_paused = true)]
async fn filter_refuses_what_it_cannot_see() {
    let error = refused(Filter::public_only(), "a socket").await;
    assert_eq!(
        (error.hop(), error.kind()),
        (Some(Hop::Dns), Kind::Filtered)
    );
    assert_eq!(
        refused(Filter::new(), "a socket").await.kind(),
        Kind::Refused
    );
}

#[tokio::test(start_paused = true)]
async fn set_up_that_nobody_asks_our_resolver_for_is_a_connect_and_ends() {
    let hangs = async |_: Uri| std::future::pending::<Result<Nothing, io::Error>>().await;
    let connector = layer(Filter::new()).layer(service_fn(hangs));
    let begun = clock::now();
    let error = connector.oneshot(uri()).await.unwrap_err();
    let error = Error::ours(error).unwrap();
    assert_eq!(
        (error.hop(), error.kind()),
        (Some(Hop::Connect), Kind::Timeout)
    );
    let connect = layer(Filter::new()).limits.connect().get();
    assert_eq!(clock::now() - begun, connect);
}

/// A connection that there never is.
#[derive(Debug)]
enum Nothing {}

impl Connection for Nothing {
    fn connected(&self) -> hyper_util::client::legacy::connect::Connected {
        match *self {}
    }
}
