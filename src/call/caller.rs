//! A caller that retries above the stack: the tries of one call, if they share extensions.
//!
//! For the stack each try is a separate call. The tries share the generated idempotency key and the effect of the
//! earlier tries.

use std::fmt;
use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use http::{Extensions, Method, Uri};
use uuid::Uuid;

use super::Call;
use crate::hop::{Effect, Outcome, TimelineEventKind};

/// One try of the caller, as its call knows it.
#[derive(Clone)]
pub(crate) struct CallerTry {
    number: u32,
    /// The effect of the earlier tries.
    before: Effect,
    /// The endpoint at which they may have had it.
    endpoint: Option<Uri>,
    key: Arc<OnceLock<Uuid>>,
    /// The slot for this try's call. Weak, because the call owns this value.
    call: Weak<OnceLock<Call>>,
}

impl CallerTry {
    /// Returns the effect of the earlier tries.
    pub(super) const fn before(&self) -> Effect {
        self.before
    }

    /// Returns the key of all tries. The first try that needs it creates it.
    pub(crate) fn key(&self, make: impl FnOnce() -> Uuid) -> Uuid {
        *self.key.get_or_init(make)
    }
}

impl fmt::Debug for CallerTry {
    /// Omits the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallerTry")
            .field("number", &self.number)
            .field("before", &self.before)
            .finish_non_exhaustive()
    }
}

impl Call {
    /// Returns the caller's try that this call is, if the tries share extensions.
    pub(crate) fn callers_try(&self) -> Option<&CallerTry> {
        self.0.state.caller.get().map(|this| &**this)
    }

    /// Marks this call as a try of the caller.
    pub(super) fn mark_callers_try(&self, this: CallerTry) {
        self.keep_to(this.endpoint.clone());
        let _ = self.0.state.caller.set(Box::new(this));
    }

    /// Records this call for the caller's next try, and the number of this try in the timeline.
    pub(crate) fn begin_callers_try(&self) {
        let Some(this) = self.callers_try() else {
            return;
        };
        if let Some(call) = this.call.upgrade() {
            let _ = call.set(self.clone());
        }
        if this.number > 1 {
            let number = this.number;
            self.note(TimelineEventKind::CallerRetry { number });
        }
    }
}

/// The identity of a request. Headers are not compared: a retry may add some, and renew credentials.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct CallerRequest {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) body: Bytes,
}

/// The calls of a caller, each with its latest try. They are kept in the extensions that the tries share.
#[derive(Clone, Default)]
struct CallerTries(Vec<LatestTry>);

#[derive(Clone)]
struct LatestTry {
    request: CallerRequest,
    number: u32,
    before: Effect,
    endpoint: Option<Uri>,
    key: Arc<OnceLock<Uuid>>,
    call: Arc<OnceLock<Call>>,
}

impl LatestTry {
    fn first(request: CallerRequest) -> Self {
        Self {
            request,
            number: 1,
            before: Effect::unsent(),
            endpoint: None,
            key: Arc::default(),
            call: Arc::default(),
        }
    }

    /// Returns the try after this one. If the call succeeded, the same request again is a new call.
    fn next(&self) -> Self {
        let next = Self::first(self.request.clone());
        let Some(call) = self.call.get() else {
            // The try never reached the stack.
            return self.clone();
        };
        if is_done(call) {
            return next;
        }
        Self {
            number: self.number.saturating_add(1),
            before: self.before.max(call.effect()),
            endpoint: call
                .endpoint_of_effect(call.asked())
                .or_else(|| self.endpoint.clone()),
            key: Arc::clone(&self.key),
            ..next
        }
    }

    fn as_try(&self) -> CallerTry {
        CallerTry {
            number: self.number,
            before: self.before,
            endpoint: self.endpoint.clone(),
            key: Arc::clone(&self.key),
            call: Arc::downgrade(&self.call),
        }
    }
}

/// Returns the caller's next try of a request. It is the first try if the extensions hold no earlier one.
pub(crate) fn next_try(extensions: &mut Extensions, request: CallerRequest) -> CallerTry {
    let CallerTries(tries) = extensions.get_or_insert_default();
    let known = tries.iter().position(|latest| latest.request == request);
    let next = match known {
        Some(at) => tries.remove(at).next(),
        None => LatestTry::first(request),
    };
    if tries.len() == MOST_WISHES {
        tries.remove(0);
    }
    let this = next.as_try();
    tries.push(next);
    this
}

/// Returns whether the caller got a success, and all of the body that it read.
fn is_done(call: &Call) -> bool {
    let succeeded = match call.answered() {
        Some(Outcome::Responded(status)) => status.is_success(),
        _ => false,
    };
    // A classifier may say that a 2xx is a failure.
    succeeded && call.failed().is_none() && !call.has_substitute()
}

/// Enough for a token, a request, and the few other requests that middleware between the caller's retry and the stack
/// sends.
const MOST_WISHES: usize = 8;

#[cfg(test)]
mod tests {
    use crate::timeout::LONGEST;
    use std::time::Duration;

    use http::{Request, StatusCode};

    use super::*;

    fn request(path: &'static str, body: &'static str) -> CallerRequest {
        CallerRequest {
            method: Method::POST,
            uri: Uri::from_static(path),
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    /// Begins the call of the next try.
    fn begin(extensions: &mut Extensions, request: CallerRequest) -> (Call, Uuid) {
        let this = next_try(extensions, request);
        let key = this.key(|| Uuid::from_u128(fastrand::u128(..)));
        let mut request = Request::new(());
        request.extensions_mut().insert(this);
        let call = Call::begin(&mut request, LONGEST);
        call.begin_callers_try();
        (call, key)
    }

    fn numbers(call: &Call) -> Vec<TimelineEventKind> {
        call.notes().into_iter().map(|note| note.kind).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn tries_of_one_request_share_a_key_and_are_counted() {
        let mut extensions = Extensions::new();
        let (first, key) = begin(&mut extensions, request("/charges", "1"));
        assert_eq!(numbers(&first), []);
        for number in [2, 3] {
            let (again, same) = begin(&mut extensions, request("/charges", "1"));
            assert_eq!(same, key);
            assert_eq!(numbers(&again), [TimelineEventKind::CallerRetry { number }]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn another_request_has_its_own_key() {
        let mut extensions = Extensions::new();
        let (_, key) = begin(&mut extensions, request("/charges", "1"));
        let mut put = request("/charges", "1");
        put.method = Method::PUT;
        for other in [request("/charges", "2"), request("/refunds", "1"), put] {
            let (call, fresh) = begin(&mut extensions, other);
            assert_ne!(fresh, key);
            assert_eq!(numbers(&call), []);
        }
        let (_, same) = begin(&mut extensions, request("/charges", "1"));
        assert_eq!(same, key, "other requests in between do not matter");
    }

    #[tokio::test(start_paused = true)]
    async fn same_request_after_a_success_is_another_call() {
        let mut extensions = Extensions::new();
        let (call, key) = begin(&mut extensions, request("/charges", "1"));
        call.answer(Outcome::Responded(StatusCode::CREATED));
        let (_, fresh) = begin(&mut extensions, request("/charges", "1"));
        assert_ne!(fresh, key);

        let mut extensions = Extensions::new();
        let (call, key) = begin(&mut extensions, request("/charges", "1"));
        call.answer(Outcome::Responded(StatusCode::SERVICE_UNAVAILABLE));
        let (_, same) = begin(&mut extensions, request("/charges", "1"));
        assert_eq!(same, key);
    }

    #[tokio::test(start_paused = true)]
    async fn success_of_an_attempt_without_a_record_ends_the_tries() {
        let mut extensions = Extensions::new();
        let (call, key) = begin(&mut extensions, request("/charges", "1"));
        let timeouts = crate::timeout::Timeouts::new(LONGEST).unwrap();
        let spans = crate::telemetry::AttemptSpans::default();
        let declined = Arc::new(crate::record::Tracker::new(timeouts, spans, call.started()));
        call.attempt(Arc::clone(&declined));
        let status = StatusCode::TOO_MANY_REQUESTS;
        let headers = http::HeaderMap::new();
        let judged = crate::hop::Diagnosis::status(status, &headers, crate::hop::Keyed::No);
        declined.head(status, judged, call.started());
        declined.finish();
        call.answer(Outcome::Responded(StatusCode::CREATED));
        let (_, fresh) = begin(&mut extensions, request("/charges", "1"));
        assert_ne!(fresh, key);
    }

    #[tokio::test(start_paused = true)]
    async fn effect_of_an_earlier_try_is_kept() {
        let mut extensions = Extensions::new();
        let (first, _) = begin(&mut extensions, request("/charges", "1"));
        let lost = crate::hop::Diagnosis::new(
            crate::hop::Hop::Server,
            crate::hop::Kind::Closed,
            Effect::Possible,
        );
        first.fail(lost);
        for _ in 0..2 {
            let (again, _) = begin(&mut extensions, request("/charges", "1"));
            assert_eq!(again.effect(), Effect::Possible);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let (other, _) = begin(&mut extensions, request("/charges", "2"));
        assert_eq!(other.effect(), Effect::None);
    }

    #[test]
    fn requests_are_bounded_and_the_oldest_is_removed_first() {
        let mut extensions = Extensions::new();
        let of = |number: usize| CallerRequest {
            body: Bytes::from(number.to_string()),
            ..request("/charges", "")
        };
        let first = next_try(&mut extensions, of(0)).key;
        for number in 1..=MOST_WISHES {
            next_try(&mut extensions, of(number));
        }
        let CallerTries(tries) = extensions.get_or_insert_default();
        assert_eq!(tries.len(), MOST_WISHES);
        let again = next_try(&mut extensions, of(0)).key;
        assert!(!Arc::ptr_eq(&again, &first));
    }
}
