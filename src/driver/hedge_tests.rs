//! Tests of hedges that provably sent nothing. The errors and the stages are those of this crate's transport.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tokio::time::sleep;
use tower::{Layer, ServiceExt, service_fn};

use crate::call::attempt_of_request;
use crate::hop::{Diagnosis, Hop, Kind};
use crate::{Config, Error, HedgeConfig, StandardLayer, clock};

/// The fate of a request.
#[derive(Clone, Copy)]
enum Fate {
    /// A connection takes it, and the response comes after this time.
    Answered(Duration),
    /// A connection takes it, and no response comes.
    Silent,
    /// It fails before a connection took it.
    Unsent(Hop, Kind),
}

/// Makes a call whose requests have these fates. Returns the time it took, or its error, and the number of requests.
async fn call(fates: &'static [Fate]) -> (Result<Duration, Error>, usize) {
    let count = Arc::new(AtomicUsize::new(0));
    let asked = Arc::clone(&count);
    let service = service_fn(move |_: Request<Full<Bytes>>| {
        let fate = fates[asked.fetch_add(1, Ordering::Relaxed)];
        async move {
            let record = attempt_of_request().unwrap();
            record.begin();
            match fate {
                Fate::Unsent(hop, kind) => return Err(Error::new(Diagnosis::unsent(hop, kind))),
                Fate::Silent => {
                    record.take();
                    pending::<()>().await;
                }
                Fate::Answered(after) => {
                    record.take();
                    sleep(after).await;
                }
            }
            Ok(Response::new(Full::<Bytes>::default()))
        }
    });
    let hedge = HedgeConfig::new().delay(MILLIS(100)).max_hedges(2);
    let config = Config::new(MILLIS(10_000)).hedge(hedge.same_address(true));
    let service = StandardLayer::from_config(&config).unwrap().layer(service);
    let request = Request::get("https://api.test/").body(Full::default());
    let begun = clock::now();
    let ended = service.oneshot(request.unwrap()).await;
    let took = clock::now() - begun;
    (ended.map(|_| took), count.load(Ordering::Relaxed))
}

#[tokio::test(start_paused = true)]
async fn attempt_in_flight_goes_on_after_a_hedge_that_sent_nothing() {
    const FATES: [Fate; 3] = [
        Fate::Answered(Duration::from_secs(1)),
        Fate::Unsent(Hop::Tls, Kind::CertificateExpired),
        Fate::Unsent(Hop::Dns, Kind::NoRecords),
    ];
    let (took, count) = call(&FATES).await;
    assert_eq!((took.unwrap(), count), (MILLIS(1_000), 3));
}

#[tokio::test(start_paused = true)]
async fn hedge_that_failed_without_a_connection_is_followed_by_another_one() {
    const FATES: [Fate; 3] = [
        Fate::Silent,
        Fate::Unsent(Hop::Connect, Kind::Refused),
        Fate::Answered(Duration::ZERO),
    ];
    let (took, count) = call(&FATES).await;
    assert_eq!((took.unwrap(), count), (MILLIS(200), 3));
}

const MILLIS: fn(u64) -> Duration = Duration::from_millis;
