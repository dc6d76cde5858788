//! Tests that restraints accumulate through stacks, and that permissions stay with their request.

use std::io::ErrorKind;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use sevenhops::{
    DeadlineLayer, Error, Kind, Operation, OperationError, Options, timeout::TimeoutKind,
};

use tokio::time::Instant;
use tower::util::BoxCloneSyncService;
use tower::{Layer, ServiceBuilder, ServiceExt};

use crate::mock::{Mock, Step, optional, saying, stack, standard, status, steady, with};

const SECS: fn(u64) -> Duration = Duration::from_secs;
const LOST: Step = Step::Fail(ErrorKind::ConnectionReset);

type Boxed = BoxCloneSyncService<Request<Full<Bytes>>, Response<Bytes>, Error>;

/// The layers above the stack that sends the request.
#[derive(Clone, Copy, Debug)]
enum Outer {
    /// Below another standard stack.
    Standard,
    /// Below two of them.
    Two,
    /// Below a deadline only.
    Call,
}

const OUTER: [Outer; 3] = [Outer::Standard, Outer::Two, Outer::Call];

/// Returns a standard stack over a mock, with its outer layers. The request passes `between` on its way in.
fn nested(outer: Outer, between: fn(&mut Request<Full<Bytes>>), mock: &Mock) -> Boxed {
    let inner = ServiceBuilder::new()
        .map_request(move |mut request| {
            between(&mut request);
            request
        })
        .service(stack(steady(), mock));
    let once = || standard(steady().attempts(1));
    match outer {
        Outer::Standard => whole(once().layer(inner)),
        Outer::Two => whole(once().layer(plain(once().layer(inner)))),
        Outer::Call => whole(DeadlineLayer::new(SECS(60)).unwrap().layer(inner)),
    }
}

/// Returns the service with its response read to the end.
fn whole<S, R>(service: S) -> Boxed
where
    S: tower::Service<Request<Full<Bytes>>, Response = Response<R>, Error = Error>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
    R: http_body::Body<Data = Bytes, Error = Error> + Send + 'static,
{
    let read = |response: Response<R>| async move {
        let (head, body) = response.into_parts();
        let bytes = body.collect().await?.to_bytes();
        Ok(Response::from_parts(head, bytes))
    };
    BoxCloneSyncService::new(service.and_then(read))
}

/// The same, as a service that another stack wraps.
type Plain = BoxCloneSyncService<Request<Full<Bytes>>, Response<Full<Bytes>>, Error>;

fn plain<S, R>(service: S) -> Plain
where
    S: tower::Service<Request<Full<Bytes>>, Response = Response<R>, Error = Error>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
    R: http_body::Body<Data = Bytes, Error = Error> + Send + 'static,
{
    let whole = whole(service);
    BoxCloneSyncService::new(whole.map_response(|response| response.map(Full::new)))
}

fn nothing(_request: &mut Request<Full<Bytes>>) {}

fn times(count: u32) -> Options {
    Options::new().attempts(count)
}

#[tokio::test(start_paused = true)]
async fn inner_stack_does_not_follow_redirects_if_the_outer_one_may_not() {
    for outer in OUTER {
        let mock = Mock::new([with(307, "location", "https://elsewhere.test/")]);
        let post = optional(Method::POST, Options::new().follow_redirects(false));
        let response = nested(outer, nothing, &mock).oneshot(post).await.unwrap();
        assert_eq!(
            (response.status().as_u16(), mock.count()),
            (307, 1),
            "{outer:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn outer_stack_bounds_the_attempts_of_inner_ones() {
    for outer in OUTER {
        // For a stack that retries itself, the request's value replaces the config.
        let many = if matches!(outer, Outer::Call) { 3 } else { 4 };
        for (options, sent) in [
            (times(1), 1),
            (times(2), 2),
            (times(4), many),
            (Options::new().retry(false), 1),
            (Options::new(), 3),
        ] {
            let mock = Mock::new((0..9).map(|_| status(503)));
            let told = format!("{outer:?} {options:?}");
            let get = optional(Method::GET, options);
            nested(outer, nothing, &mock).oneshot(get).await.unwrap();
            assert_eq!(mock.count(), sent, "{told}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn inner_request_cannot_raise_the_attempts() {
    for outer in OUTER {
        let mock = Mock::new((0..9).map(|_| status(503)));
        let more = |request: &mut Request<_>| {
            request.extensions_mut().insert(times(5));
        };
        let get = optional(Method::GET, times(1));
        nested(outer, more, &mock).oneshot(get).await.unwrap();
        assert_eq!(mock.count(), 1, "{outer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn status_is_retried_only_if_every_list_has_it() {
    let [a, b, c] = [500, 502, 503].map(|code| StatusCode::from_u16(code).unwrap());
    for outer in OUTER {
        for (code, sent) in [(500, 1), (502, 2), (503, 1), (504, 1)] {
            let mock = Mock::new([status(code)]);
            let own = |request: &mut Request<_>| {
                let both = [502, 503].map(|code| StatusCode::from_u16(code).unwrap());
                request
                    .extensions_mut()
                    .insert(Options::new().retry_statuses(both));
            };
            let get = optional(Method::GET, Options::new().retry_statuses([a, b]));
            nested(outer, own, &mock).oneshot(get).await.unwrap();
            assert_eq!(mock.count(), sent, "{outer:?} {code}");
        }
        // Without its own list, the inner stack uses the list of its config.
        for (code, sent) in [(502, 1), (503, 2)] {
            let mock = Mock::new([status(code)]);
            let get = optional(Method::GET, Options::new().retry_statuses([c]));
            nested(outer, nothing, &mock).oneshot(get).await.unwrap();
            assert_eq!(mock.count(), sent, "{outer:?} {code}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn honors_keys_false_wins_in_either_stack() {
    let yes = |request: &mut Request<_>| {
        request
            .extensions_mut()
            .insert(Options::new().honors_idempotency_keys(true));
    };
    let no = |request: &mut Request<_>| {
        request
            .extensions_mut()
            .insert(Options::new().honors_idempotency_keys(false));
    };
    let silent: fn(&mut Request<Full<Bytes>>) = nothing;
    for outer in OUTER {
        for (own, between, sent) in [
            (Some(false), silent, 1),
            (Some(false), yes, 1),
            (Some(true), no, 1),
            (Some(true), silent, 2),
            (None, yes, 2),
            (None, silent, 1),
        ] {
            let mock = Mock::new([LOST]);
            let options = own.map_or_else(Options::new, |own| {
                Options::new().honors_idempotency_keys(own)
            });
            let post = optional(Method::POST, options);
            let _ = nested(outer, between, &mock).oneshot(post).await;
            assert_eq!(mock.count(), sent, "{outer:?} {own:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn inner_stack_generates_no_key_if_the_outer_one_may_not() {
    for outer in OUTER {
        let mock = Mock::default();
        let post = optional(Method::POST, Options::new().generate_key(false));
        nested(outer, nothing, &mock).oneshot(post).await.unwrap();
        assert_eq!(mock.asked()[0].header("idempotency-key"), None, "{outer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn smaller_body_bound_applies() {
    let more = |request: &mut Request<_>| {
        request
            .extensions_mut()
            .insert(Options::new().whole_body(100));
    };
    let less = |request: &mut Request<_>| {
        request
            .extensions_mut()
            .insert(Options::new().whole_body(5));
    };
    let silent: fn(&mut Request<Full<Bytes>>) = nothing;
    for outer in OUTER {
        for (bound, between, fits) in [
            (Some(5), silent, false),
            (Some(5), more, false),
            (Some(100), less, false),
            (None, less, false),
            (Some(100), more, true),
            (None, silent, true),
        ] {
            let mock = Mock::new([saying(200, "ten bytes!")]);
            let options = bound.map_or_else(Options::new, |most| Options::new().whole_body(most));
            let get = optional(Method::GET, options);
            let response = nested(outer, between, &mock).oneshot(get).await;
            let kind = response.err().map(|error| error.kind());
            assert_eq!(
                kind,
                (!fits).then_some(Kind::TooLarge),
                "{outer:?} {bound:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn earlier_deadline_applies_from_either_stack() {
    let late = |request: &mut Request<_>| {
        let late = Options::new().deadline(Duration::from_secs(50));
        request.extensions_mut().insert(late);
    };
    let early = |request: &mut Request<_>| {
        let early = Options::new().deadline(Duration::from_secs(1));
        request.extensions_mut().insert(early);
    };
    let silent: fn(&mut Request<Full<Bytes>>) = nothing;
    for outer in OUTER {
        for (own, between, ends) in [
            (1, silent, 1),
            (1, late, 1),
            (50, early, 1),
            (50, silent, 10),
        ] {
            let (start, mock) = (Instant::now(), Mock::new((0..9).map(|_| Step::Hang)));
            let options = Options::new().deadline(Duration::from_secs(own));
            let get = optional(Method::GET, options);
            let error = nested(outer, between, &mock)
                .oneshot(get)
                .await
                .unwrap_err();
            assert!(matches!(
                error.timeout_kind(),
                Some(TimeoutKind::Deadline | TimeoutKind::Attempt)
            ));
            assert!(
                start.elapsed() <= SECS(ends),
                "{outer:?} {own} {:?}",
                start.elapsed()
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn honors_keys_true_does_not_apply_after_a_redirect() {
    for outer in [Outer::Standard, Outer::Two] {
        for (steps, sent) in [
            (vec![LOST], 2), // the same request: the stack below retries
            (vec![with(307, "location", "/v2/charges"), LOST], 2),
            (
                vec![with(307, "location", "https://elsewhere.test/"), LOST],
                2,
            ),
        ] {
            let mock = Mock::new(steps.clone());
            let only_outer = |request: &mut Request<Full<Bytes>>| {
                // The outermost stack follows redirects.
                let options = Options::new().follow_redirects(false);
                request.extensions_mut().insert(options);
            };
            let post = optional(Method::POST, Options::new().honors_idempotency_keys(true));
            let _ = nested(outer, only_outer, &mock).oneshot(post).await;
            assert_eq!(mock.count(), sent, "{outer:?} {steps:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn restraints_apply_in_stacks_inside_an_operation() {
    let operation = Operation::new("charge", SECS(2)).unwrap();
    let mock = Mock::new((0..9).map(|_| status(503)));
    let run = operation.run(async |_| {
        let get = optional(Method::GET, times(1));
        let service = nested(Outer::Standard, nothing, &mock);
        service
            .oneshot(get)
            .await
            .map_err(OperationError::from_error)
    });
    run.await.unwrap();
    assert_eq!(mock.count(), 1, "the operation's work succeeded");
    let (start, mock) = (Instant::now(), Mock::new((0..9).map(|_| Step::Hang)));
    let run = operation.run(async |_| {
        let get = optional(
            Method::GET,
            Options::new().deadline(Duration::from_secs(60)),
        );
        let service = nested(Outer::Standard, nothing, &mock);
        service
            .oneshot(get)
            .await
            .map_err(OperationError::from_error)
    });
    assert!(run.await.is_err());
    assert!(start.elapsed() <= SECS(2), "{:?}", start.elapsed());
}
