//! What the connector layer makes of what it is asked and answered; its journeys are in `tests/ways`.

use std::io;
use std::time::Duration;

use tower::{ServiceExt, service_fn};

use super::super::connector::tests::Nothing;
use super::*;

fn layer(filter: Filter) -> ConnectorLayer {
    let limits = Limits::new(Duration::from_secs(10)).unwrap();
    ConnectorLayer { filter, limits }
}

/// What is made of a connector that is refused.
async fn refused<T: Debug>(filter: Filter, target: T) -> Error {
    let refuses = async |_: T| Err::<Nothing, _>(io::Error::from(io::ErrorKind::ConnectionRefused));
    let connector = layer(filter).layer(service_fn(refuses));
    let error = connector.oneshot(target).await.unwrap_err();
    Error::ours(error).unwrap()
}

fn uri() -> http::Uri {
    http::Uri::from_static("https://api.test:8443/v1?key=secret")
}

/// As reqwest asks.
#[derive(Debug)]
struct Unnameable(#[expect(dead_code, reason = "it is shown")] http::Uri);

#[test]
fn destination_is_read_from_what_reqwest_and_hyper_util_ask_with() {
    for url in [destination(&uri()), destination(&Unnameable(uri()))] {
        let url = url.unwrap();
        assert_eq!(host(&url).as_deref(), Some("api.test"));
        assert_eq!(url.port_or_known_default(), Some(8443));
    }
    assert!(destination(&"a socket").is_none());
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
            tracker.waiting();
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
    let hangs = async |_: http::Uri| std::future::pending::<Result<Nothing, io::Error>>().await;
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
