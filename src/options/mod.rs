//! What one request wants otherwise than its client.

mod demand;
mod inherit;
#[cfg(test)]
mod table_tests;

use std::num::NonZeroU8;
use std::sync::Arc;

#[cfg(feature = "har")]
use http::HeaderName;
use http::{HeaderMap, StatusCode};

pub(crate) use self::demand::{Unmet, Wire};
pub(crate) use self::inherit::Relation;

use crate::clock;
use crate::idempotency_key::Key;
use crate::limit::Limit;
use crate::propagation::{self, Inherited};

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
///
/// # Honored or refused
///
/// The layer that begins the call takes the options out of the request. So they have to be there
/// before: put them in above the first layer of this crate.
///
/// A request may pass several stacks of layers, one below the other, and a call may be made inside
/// an [`Operation`](crate::Operation). Then options are of four classes:
///
/// - A **restraint** adds up: of two values the stricter one holds.
/// - A **permission** is passed on to the same request only: the same method and the same URI. A
///   redirect that an outer stack follows, or a layer that rewrites the URI, ends it.
/// - A **demand** is carried out by the first layer that can do so. If no layer does, the
///   [`AttemptLayer`](crate::AttemptLayer) or the transport refuses the request before its first
///   byte, at encode. The error names the option and the missing layer.
/// - A **label** belongs to the record of the one call that it was given to.
///
/// | option | class | in a stack below | in a call inside an operation |
/// |---|---|---|---|
/// | `deadline` | restraint | the earlier instant | the earlier instant |
/// | `inherit` | restraint | the earlier instant; no retry where a caller retries | the same |
/// | `attempts` | restraint | the fewer | the fewer |
/// | `no_retry` | restraint | if one of them says so | if one of them says so |
/// | `no_redirects` | restraint | if one of them says so | if one of them says so |
/// | `no_idempotency_key` | restraint | if one of them says so | if one of them says so |
/// | `retry_statuses` | restraint | what is in both lists | not passed on |
/// | `honours_keys` | restraint if false | false if one of them says so | false if one of them says so |
/// | `honours_keys` | permission if true | for the same method and URI | not passed on |
/// | `idempotent` | permission | for the same method and URI | not passed on |
/// | `streaming` | permission | for the same method and URI | not passed on |
/// | `idempotency_key` | demand | on the request wherever it is missing | not passed on |
/// | `whole_body` | demand | once, in the innermost attempt | not passed on |
/// | `whole_body` | restraint: its bound | the smaller | the smaller |
/// | `route` | label | not passed on | not passed on |
/// | `keep_headers` | label | not passed on | not passed on |
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub(crate) deadline: Option<Limit>,
    pub(crate) streaming: bool,
    pub(crate) whole_body: Option<usize>,
    pub(crate) route: Option<Arc<str>>,
    pub(crate) idempotent: bool,
    pub(crate) no_retry: bool,
    pub(crate) attempts: Option<NonZeroU8>,
    pub(crate) statuses: Option<Arc<[StatusCode]>>,
    pub(crate) no_redirects: bool,
    pub(crate) key: Option<Key>,
    pub(crate) no_key: bool,
    pub(crate) honours_keys: Option<bool>,
    pub(crate) inherited: Inherited,
    #[cfg(feature = "har")]
    pub(crate) headers: Option<Arc<[HeaderName]>>,
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
    ///
    /// An [`AttemptLayer`](crate::AttemptLayer) receives it. Without one the transport refuses the
    /// request at encode.
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

    /// Says whether this request is idempotent whatever its method says: a POST that only reads, such as a
    /// search. Such a request is retried like a GET, and no idempotency key is made for it. `false`, the
    /// default, leaves it to the method.
    #[must_use]
    pub fn idempotent(mut self, yes: bool) -> Self {
        self.idempotent = yes;
        self
    }

    /// Makes one attempt only (one for each leg, where redirects are followed).
    #[must_use]
    pub fn no_retry(mut self) -> Self {
        self.no_retry = true;
        self
    }

    /// Sends up to so many attempts, the first included, in place of what the config says. In a stack
    /// below it only makes them fewer. An attempt that provably was not sent does not count.
    #[must_use]
    pub fn attempts(mut self, most: NonZeroU8) -> Self {
        self.attempts = Some(most);
        self
    }

    /// Repeats after these statuses and no others. What is not safe to repeat is still not
    /// repeated. In a stack below, a status has to be in its own list, too.
    #[must_use]
    pub fn retry_statuses(mut self, statuses: impl Into<Arc<[StatusCode]>>) -> Self {
        self.statuses = Some(statuses.into());
        self
    }

    /// Returns a redirect as it is.
    #[must_use]
    pub fn no_redirects(mut self) -> Self {
        self.no_redirects = true;
        self
    }

    /// Sends this idempotency key, whatever the method.
    ///
    /// An [`IdempotencyLayer`](crate::IdempotencyLayer) puts it on the request. Without one the
    /// request is refused at encode.
    #[must_use]
    pub fn idempotency_key(mut self, key: Key) -> Self {
        self.key = Some(key);
        self
    }

    /// Makes no idempotency key for this request.
    #[must_use]
    pub fn no_idempotency_key(mut self) -> Self {
        self.no_key = true;
        self
    }

    /// Says whether the far side honours idempotency keys: if it does, a keyed request whose answer
    /// was lost is sent again.
    #[must_use]
    pub fn honours_keys(mut self, yes: bool) -> Self {
        self.honours_keys = Some(yes);
        self
    }

    /// Keeps the headers of each attempt for [`Timeline::to_har`](crate::Timeline::to_har), as the policies
    /// leave them: all names, and the values of those that are known to be harmless and of those named
    /// here. Never the value of one that is marked sensitive, as that of an idempotency key is, or sounds like
    /// a secret (`auth`, `cookie`, `key`, `token` and their like), whatever is named.
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

    /// Takes over what the caller of this process passed on in its request's headers: the time left
    /// holds here too, and what the caller repeats is not repeated here.
    ///
    /// The time left counts from now on: read it when the request arrives, once, and give every call that is
    /// made for it a clone. Read anew for each of several calls, one after another, it would begin anew.
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
        self.inherited = propagation::read(headers, clock::now());
        self
    }
}
