//! Tests of the hint of an error of this crate.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer, ServiceExt, service_fn};

use crate::hop::{Diagnosis, Effect, Hop, Kind, NoRetryReason, TimelineEvent, TimelineEventKind};
use crate::{Error, StandardLayer, clock};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn retry_waits_until_another_lookup_is_useful() {
    let begun = clock::now();
    let (answer, notes) = call(move || SECOND.saturating_sub(clock::now() - begun)).await;

    answer.unwrap();
    // No server requested this wait.
    let [
        TimelineEventKind::Waited {
            wait,
            hinted: false,
        },
    ] = notes[..]
    else {
        panic!("{notes:?}");
    };
    assert!((SECOND..=SECOND * 11 / 10).contains(&wait), "{wait:?}");
}

#[tokio::test(start_paused = true)]
async fn hint_that_does_not_fit_ends_the_call_at_once_and_stays_in_the_error() {
    let begun = clock::now();
    let (answer, notes) = call(|| 30 * SECOND).await;

    let error = answer.unwrap_err();
    assert_eq!((notes.len(), clock::now()), (0, begun));
    assert_eq!(error.retry_after(), Some(30 * SECOND));
    let Some(NoRetryReason::DeadlineTooClose { wait, left }) = error.no_retry_reason() else {
        panic!("{error}");
    };
    assert!(wait >= 30 * SECOND && left == 10 * SECOND);
}

/// Calls a service whose name does not resolve. `back_off` is the time for which another lookup is useless.
async fn call(
    back_off: impl Fn() -> Duration + Clone,
) -> (Result<(), Error>, Vec<TimelineEventKind>) {
    let service = service_fn(move |_: Request<Full<Bytes>>| {
        let wait = back_off();
        async move {
            let failed = Diagnosis::new(Hop::Dns, Kind::ServerFailure, Effect::None);
            match wait.is_zero() {
                true => Ok(Response::new(Full::<Bytes>::default())),
                false => Err(Error::new(failed).after(wait)),
            }
        }
    });
    let stack = StandardLayer::new(10 * SECOND).unwrap().layer(service);
    let request = Request::get("http://api.test/").body(Full::default());
    let answer = stack.oneshot(request.unwrap()).await;
    let timeline = match &answer {
        Ok(response) => response.body().timeline().clone(),
        Err(error) => error.timeline().unwrap().clone(),
    };
    let notes = timeline
        .events()
        .into_iter()
        .map(|TimelineEvent { kind, .. }| kind);
    (answer.map(drop), notes.collect())
}
