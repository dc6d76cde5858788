//! Per-request overrides of the client's config.

mod demand;
mod inherit;
#[cfg(test)]
mod merge_tests;
mod priority;
#[cfg(test)]
mod table_tests;

use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "har")]
use http::HeaderName;
use http::{HeaderMap, StatusCode};

pub(crate) use self::demand::{Unmet, Wire};
pub(crate) use self::inherit::Relation;
pub use self::priority::Priority;

use crate::affinity::Affinity;
use crate::clock;
use crate::consistency::Consistency;
use crate::idempotency_key::IdempotencyKey;
use crate::propagation::{self, Inherited};
use crate::timeout::is_deadline;

/// Per-request overrides of the client's config. With a client, use
/// [`RequestBuilder::options`](crate::RequestBuilder::options). In a tower stack, put them into the request's extensions.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::Options;
///
/// let mut request = http::Request::get("https://api.test/v1/charges/ch_1").body(()).unwrap();
/// request.extensions_mut().insert(
///     Options::new()
///         .route("/v1/charges/{id}")
///         .deadline(Duration::from_secs(2)),
/// );
/// ```
///
/// # Honored or refused
///
/// The layer that begins the call takes the options out of the request. Therefore add them above the first layer of
/// this crate.
///
/// A request may pass several stacks of layers, one below the other. A call may also be made inside an
/// [`Operation`](crate::Operation). For both cases, options have five classes:
///
/// - A **restraint** accumulates: of two values the stricter one holds.
/// - A **permission** passes on to the same request only: the same method and the same URI. It ends if an outer stack
///   follows a redirect, or a layer rewrites the URI.
/// - A **demand** is carried out by the first layer that can do so. If no layer does, the
///   [`AttemptLayer`](crate::AttemptLayer) or the transport fails the request at encode, before its first byte. The
///   error names the option and the missing layer.
/// - A **choice** selects the part of a stack's config that applies to the request, in each stack that has such a part.
///   A value that the request has below replaces it.
/// - A **label** belongs to the record of its own call only.
///
/// | option | class | in a stack below | in a call inside an operation |
/// |---|---|---|---|
/// | `deadline` | restraint | the earlier instant | the earlier instant |
/// | `inherit` | restraint | the earlier instant; no retry where a caller retries | the same |
/// | `attempts` | restraint | the fewer | the fewer |
/// | `retry` | restraint if false | false if one of them says so | false if one of them says so |
/// | `follow_redirects` | restraint if false | false if one of them says so | false if one of them says so |
/// | `generate_key` | restraint if false | false if one of them says so | false if one of them says so |
/// | `retry_statuses` | restraint | the statuses in both lists | not passed on |
/// | `honors_idempotency_keys` | restraint if false | false if one of them says so | false if one of them says so |
/// | `honors_idempotency_keys` | permission if true | for the same method and URI | not passed on |
/// | `consistency` | restraint if `Refuse` | `Refuse` if one of them says so | `Refuse` if one of them says so |
/// | `consistency` | permission if `StaleFor` | for the same method and URI, the shorter | not passed on |
/// | `idempotent` | permission | for the same method and URI | not passed on |
/// | `streaming` | permission | for the same method and URI | not passed on |
/// | `idempotency_key` | demand | on the request wherever it is missing | not passed on |
/// | `whole_body` | demand | once, in the innermost attempt | not passed on |
/// | `whole_body` | restraint: its bound | the smaller | the smaller |
/// | `affinity` | demand | in each one that has none of its own | not passed on |
/// | `route` | choice | for the same method and URI | not passed on |
/// | `priority` | choice | for the same method and URI | not passed on |
/// | `keep_headers` | label | not passed on | not passed on |
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub(crate) deadline: Option<Duration>,
    pub(crate) streaming: bool,
    pub(crate) whole_body: Option<usize>,
    pub(crate) route: Option<Arc<str>>,
    pub(crate) priority: Option<Priority>,
    pub(crate) idempotent: bool,
    pub(crate) no_retry: bool,
    pub(crate) attempts: Option<u32>,
    pub(crate) statuses: Option<Arc<[StatusCode]>>,
    pub(crate) no_redirects: bool,
    pub(crate) key: Option<IdempotencyKey>,
    pub(crate) no_key: bool,
    pub(crate) honors_idempotency_keys: Option<bool>,
    pub(crate) consistency: Option<Consistency>,
    pub(crate) affinity: Option<Affinity>,
    pub(crate) inherited: Inherited,
    /// The first option that is out of range: it fails the request at encode.
    pub(crate) invalid: Option<Unmet>,
    #[cfg(feature = "har")]
    pub(crate) headers: Option<Arc<[HeaderName]>>,
}

impl Options {
    /// Creates options with no overrides.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the deadline of this call: 10 ms to 24 h. Timeouts that were not set follow it. Timeouts that were set are
    /// shortened if they are longer than it. A deadline out of range fails the request at encode.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        match is_deadline(deadline) {
            true => self.deadline = Some(deadline),
            false => self.refuse(Unmet::InvalidDeadline(deadline)),
        }
        self
    }

    /// Sets whether the deadline applies only until the response head arrives, for a stream without a fixed end. The
    /// body idle timeout still applies. The default is `false`.
    #[must_use]
    pub fn streaming(mut self, yes: bool) -> Self {
        self.streaming = yes;
        self
    }

    /// Receives the whole body inside the attempt, up to this number of bytes on the wire.
    ///
    /// An [`AttemptLayer`](crate::AttemptLayer) receives the body. Without this layer the transport fails the request
    /// at encode. The body of a redirect is not received, and not bounded.
    #[must_use]
    pub fn whole_body(mut self, most_bytes: usize) -> Self {
        self.whole_body = Some(most_bytes);
        self
    }

    /// Sets the route: `/v1/charges/{id}`, never a path with values. It selects the parts of a
    /// [`Config`](crate::Config) that are for this route. In telemetry it is `url.template`.
    #[must_use]
    pub fn route(mut self, route: impl Into<Arc<str>>) -> Self {
        self.route = Some(route.into());
        self
    }

    /// Sets how important this request is in the queue of a [`ConcurrencyLayer`](crate::ConcurrencyLayer). The default
    /// is [`Priority::Normal`].
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Sets whether this request is idempotent, whatever its method: for example a POST that only reads, such as a
    /// search. Such a request is retried like a GET, and gets no idempotency key. `false`, the default, leaves it to
    /// the method.
    #[must_use]
    pub fn idempotent(mut self, yes: bool) -> Self {
        self.idempotent = yes;
        self
    }

    /// Sets whether the call may be retried. With `false` it makes one attempt, or one for each request of a redirect
    /// chain, even if that attempt provably was not sent. `true`, the default, leaves it to the config.
    #[must_use]
    pub fn retry(mut self, yes: bool) -> Self {
        self.no_retry = !yes;
        self
    }

    /// Sets the maximum number of attempts, including the first, in place of the config's number: 1 to 255. In a stack
    /// below it can only reduce the number. An attempt that provably was not sent does not count. A number out of range
    /// fails the request at encode.
    #[must_use]
    pub fn attempts(mut self, most: u32) -> Self {
        match u8::try_from(most).is_ok_and(|most| most > 0) {
            true => self.attempts = Some(most),
            false => self.refuse(Unmet::InvalidAttempts(most)),
        }
        self
    }

    /// Retries after these statuses and no others. A retry still has to be safe. In a stack below, the status must also
    /// be in that stack's own list.
    #[must_use]
    pub fn retry_statuses(mut self, statuses: impl Into<Arc<[StatusCode]>>) -> Self {
        self.statuses = Some(statuses.into());
        self
    }

    /// Sets whether redirects are followed. With `false` a redirect is returned as the response. `true`, the default,
    /// leaves it to the config.
    #[must_use]
    pub fn follow_redirects(mut self, yes: bool) -> Self {
        self.no_redirects = !yes;
        self
    }

    /// Sends this idempotency key, whatever the method.
    ///
    /// The server is assumed to honor a key that you set, here or as a header. So the request is retried after a lost
    /// response. If the server ignores keys, also call `honors_idempotency_keys(false)`.
    ///
    /// An [`IdempotencyLayer`](crate::IdempotencyLayer) adds the key to the request. Without this layer the request
    /// fails at encode.
    #[must_use]
    pub fn idempotency_key(mut self, key: IdempotencyKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Sets whether an idempotency key may be generated for this request. `true`, the default, leaves it to the config.
    #[must_use]
    pub fn generate_key(mut self, yes: bool) -> Self {
        self.no_key = !yes;
        self
    }

    /// Sets whether the server honors idempotency keys. If it does, a request with a key is retried after its response
    /// was lost.
    ///
    /// If this is not set, the config decides for generated keys, and a key that you set counts as honored.
    #[must_use]
    pub fn honors_idempotency_keys(mut self, yes: bool) -> Self {
        self.honors_idempotency_keys = Some(yes);
        self
    }

    /// Sets whether the last good response may stand in for a failure of this call, in place of the config's choice:
    /// see [`policy::stale`](crate::policy::stale).
    ///
    /// A [`StaleLayer`](crate::StaleLayer), or a client with a store, keeps the responses. Without a store,
    /// [`StaleFor`](Consistency::StaleFor) fails the request at encode.
    #[must_use]
    pub fn consistency(mut self, consistency: Consistency) -> Self {
        self.consistency = Some(consistency);
        self
    }

    /// Keeps the calls of a session on one address of their destination, so that no read shows older data than a read
    /// before it. `key` names the session, for example a user. The addresses of a destination may be replicas, and
    /// a write reaches them one after another.
    ///
    /// Sessions share the addresses evenly (rendezvous hashing). Each process chooses the same address for a key. While
    /// that address cannot be reached or fails, the call goes to the next one in the key's own order. The timeline then
    /// says that reads may go back in time ([`Attempt::is_affinity_moved`](crate::hop::Attempt::is_affinity_moved)). The call goes
    /// back to the first address when it is healthy again.
    ///
    /// A [`Transport`](crate::Transport) below carries this out. Another client fails the request at encode, and so does
    /// a proxy, which chooses the address itself. A service that is not from this crate is noticed only by its response:
    /// the call then fails, with the effect of that response. The key is not kept: no span, log or timeline shows it.
    ///
    /// # Example
    ///
    /// ```
    /// use sevenhops::Options;
    ///
    /// let options = Options::new().affinity("user-4711");
    /// # drop(options);
    /// ```
    ///
    /// # How people get it wrong
    ///
    /// - A load balancer stands between the client and the replicas: it has one address, and chooses the replica.
    /// - The key names one request and not a session: then each call may go elsewhere.
    #[must_use]
    pub fn affinity(mut self, key: impl AsRef<[u8]>) -> Self {
        self.affinity = Some(Affinity::new(key.as_ref()));
        self
    }

    /// Keeps the headers of each attempt for [`Timeline::to_har`](crate::Timeline::to_har), as the policies leave them.
    /// All names are kept, with the values of known harmless headers and of `shown`. A value is never kept if it is
    /// marked sensitive, as an idempotency key is. Nor is it kept if its name suggests a secret (`auth`, `cookie`,
    /// `key`, `token` and similar), even if `shown` names it.
    ///
    /// # Example
    ///
    /// ```
    /// use http::HeaderName;
    /// use sevenhops::Options;
    ///
    /// let options = Options::new().keep_headers([HeaderName::from_static("x-request-id")]);
    /// # drop(options);
    /// ```
    #[cfg(feature = "har")]
    #[must_use]
    pub fn keep_headers(mut self, shown: impl Into<Arc<[HeaderName]>>) -> Self {
        self.headers = Some(shown.into());
        self
    }

    /// Inherits the remaining time and the retry state from the headers of an incoming request. The remaining time also
    /// bounds this call. If the sender of that request retries, this call does not. gRPC's `grpc-timeout` is a
    /// remaining time, too. [`InheritLayer`](crate::server::InheritLayer) does this for all calls of a handler.
    ///
    /// The remaining time counts from this call of `inherit`. Call it once, when the request arrives, and give a clone
    /// to every call for that request. If you read the headers into new options for a later call, the time starts again.
    /// A second `inherit` on the same options adds its restraints: the earlier end holds.
    ///
    /// # Example
    ///
    /// ```
    /// use sevenhops::Options;
    ///
    /// # let incoming = http::Request::new(());
    /// let inherited = Options::new().inherit(incoming.headers());
    /// let first = inherited.clone().route("/v1/accounts/{id}");
    /// let second = inherited.route("/v1/prices");
    /// # drop((first, second));
    /// ```
    #[must_use]
    pub fn inherit(mut self, headers: &HeaderMap) -> Self {
        let arrived = propagation::read(headers, clock::now());
        self.inherited.restrain(&arrived);
        self
    }

    fn refuse(&mut self, invalid: Unmet) {
        self.invalid.get_or_insert(invalid);
    }
}
