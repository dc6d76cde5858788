//! What a call carries through the stack, in its request's extensions.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use http::{Extensions, Method, Request, Uri};
use tokio::time::Instant;

use crate::clock;
use crate::hop::tracker::Tracker;
use crate::hop::{Diagnosis, Timeline};
use crate::limit::Limit;

/// What one request wants otherwise than its client: put it into the request's extensions.
///
/// # Example
///
/// ```
/// use sevenhops::{Options, limit::Limit};
///
/// let mut request = http::Request::get("https://api.test/v1/charges/ch_1").body(()).unwrap();
/// request.extensions_mut().insert(
///     Options::new()
///         .route("/v1/charges/{id}")
///         .deadline(Limit::from_secs(2)),
/// );
/// ```
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub(crate) deadline: Option<Limit>,
    pub(crate) streaming: bool,
    pub(crate) whole_body: Option<usize>,
    pub(crate) route: Option<Arc<str>>,
}

impl Options {
    /// Wants nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the deadline of this call; limits that were not set follow it, others are shortened
    /// where they do not fit any more.
    #[must_use]
    pub fn deadline(mut self, deadline: Limit) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Lets the deadline end at the response head: for a stream that goes on for as long as it
    /// pleases. The body idle limit stays.
    #[must_use]
    pub fn streaming(mut self) -> Self {
        self.streaming = true;
        self
    }

    /// Receives the whole body inside the attempt, up to so many bytes as they come over the wire.
    #[must_use]
    pub fn whole_body(mut self, most_bytes: usize) -> Self {
        self.whole_body = Some(most_bytes);
        self
    }

    /// Names the route for telemetry (`url.template`): `/v1/charges/{id}`, never a path with values.
    #[must_use]
    pub fn route(mut self, route: impl Into<Arc<str>>) -> Self {
        self.route = Some(route.into());
        self
    }
}

/// A call under way: what its layers share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Call(Arc<Inner>);

struct Inner {
    method: Method,
    uri: Uri,
    options: Options,
    started: Instant,
    started_at: SystemTime,
    deadline: Instant,
    /// Nearly every call is one attempt: that one costs no list.
    first: OnceLock<Arc<Tracker>>,
    more: Mutex<Vec<Arc<Tracker>>>,
    failure: OnceLock<Diagnosis>,
    ended: OnceLock<Instant>,
}

impl Call {
    /// Begins the call of a request, due at the latest after `limit`, and puts it into the
    /// request's extensions. A call around it is honoured: its deadline holds here too.
    pub(crate) fn begin<B>(request: &mut Request<B>, limit: Limit) -> Self {
        let started = clock::now();
        let outer = Self::of(request.extensions()).map(|call| call.deadline());
        let options = request.extensions_mut().remove::<Options>();
        let options = options.unwrap_or_default();
        let own = clock::after(started, options.deadline.unwrap_or(limit).get());
        let call = Self(Arc::new(Inner {
            method: request.method().clone(),
            uri: request.uri().clone(),
            options,
            started,
            started_at: clock::wall(),
            deadline: outer.map_or(own, |outer| outer.min(own)),
            first: OnceLock::new(),
            more: Mutex::default(),
            failure: OnceLock::new(),
            ended: OnceLock::new(),
        }));
        request.extensions_mut().insert(call.clone());
        call
    }

    /// The call that a request belongs to.
    pub(crate) fn of(extensions: &Extensions) -> Option<Self> {
        extensions.get::<Self>().cloned()
    }

    pub(crate) fn method(&self) -> &Method {
        &self.0.method
    }

    /// The URL as it may be shown: see [`redacted`].
    pub(crate) fn url(&self) -> String {
        redacted(&self.0.uri)
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.0.uri
    }

    pub(crate) fn route(&self) -> Option<&str> {
        self.0.options.route.as_deref()
    }

    pub(crate) fn options(&self) -> &Options {
        &self.0.options
    }

    pub(crate) fn started(&self) -> Instant {
        self.0.started
    }

    pub(crate) fn started_at(&self) -> SystemTime {
        self.0.started_at
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.0.deadline
    }

    pub(crate) fn elapsed(&self) -> Duration {
        let end = self.ended().unwrap_or_else(clock::now);
        end.saturating_duration_since(self.0.started)
    }

    /// Another attempt begins.
    pub(crate) fn attempt(&self, tracker: Arc<Tracker>) {
        if let Err(tracker) = self.0.first.set(tracker) {
            self.more().push(tracker);
        }
    }

    pub(crate) fn trackers(&self) -> Vec<Arc<Tracker>> {
        let first = self.0.first.get().cloned();
        first
            .into_iter()
            .chain(self.more().iter().cloned())
            .collect()
    }

    /// The attempt that is under way, or was made last.
    pub(crate) fn last(&self) -> Option<Arc<Tracker>> {
        let last = self.more().last().cloned();
        last.or_else(|| self.0.first.get().cloned())
    }

    pub(crate) fn attempt_count(&self) -> u32 {
        let Some(_) = self.0.first.get() else {
            return 0;
        };
        u32::try_from(self.more().len()).map_or(u32::MAX, |more| more.saturating_add(1))
    }

    pub(crate) fn timeline(&self) -> Timeline {
        Timeline(self.clone())
    }

    /// The call failed; the first word on it counts.
    pub(crate) fn fail(&self, diagnosis: Diagnosis) {
        let _ = self.0.failure.set(diagnosis);
        self.end();
    }

    /// The call is over.
    pub(crate) fn end(&self) {
        self.0.ended.get_or_init(clock::now);
    }

    pub(crate) fn failure(&self) -> Option<Diagnosis> {
        self.0.failure.get().copied()
    }

    pub(crate) fn ended(&self) -> Option<Instant> {
        self.0.ended.get().copied()
    }

    fn more(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Tracker>>> {
        self.0.more.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.timeline().fmt(f)
    }
}

/// An URL as it may be shown: scheme, host, port and path. Userinfo, query and fragment may be
/// secret and are left out.
pub(crate) fn redacted(uri: &Uri) -> String {
    let mut shown = String::new();
    if let Some(scheme) = uri.scheme_str() {
        shown.push_str(scheme);
        shown.push_str("://");
    }
    shown.push_str(uri.host().unwrap_or_default());
    if let Some(port) = uri.port() {
        shown.push(':');
        shown.push_str(port.as_str());
    }
    shown.push_str(uri.path());
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_is_shown_without_userinfo_and_query() {
        for (uri, shown) in [
            (
                "https://u:p@api.test:8443/v1?key=s",
                "https://api.test:8443/v1",
            ),
            ("http://[::1]:80/", "http://[::1]:80/"),
            ("/v1?key=s", "/v1"),
            ("https://api.test", "https://api.test/"),
        ] {
            assert_eq!(redacted(&uri.parse().unwrap()), shown);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn call_inside_a_call_keeps_the_earlier_deadline() {
        let mut request = Request::new(());
        let outer = Call::begin(&mut request, Limit::from_secs(1));
        let inner = Call::begin(&mut request, Limit::from_secs(60));
        assert_eq!(inner.deadline(), outer.deadline());
    }
}
