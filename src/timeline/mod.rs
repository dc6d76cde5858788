//! The record of a call: its attempts, their stages, and its end.

mod attempt;
#[cfg(feature = "har")]
mod har;
#[cfg(feature = "serde")]
mod serialize;
mod stage;
mod waterfall;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{Extensions, Method, StatusCode};

use crate::call::{Call, CallTarget, Observer};
use crate::callback::{self, Site};
use crate::clock;
use crate::hop::{Effect, Explanation, NoRetryReason, Outcome, TimelineEvent, TimelineEventKind};

pub use self::attempt::Attempt;
#[cfg(feature = "har")]
pub use self::har::Har;
pub use self::stage::{StageOutcome, StageTiming};
pub use self::waterfall::Waterfall;

#[cfg(feature = "har")]
pub(crate) use self::har::{keep_request, keep_response};

/// The record of a call.
///
/// It is a live view: it can be read before the call ends, and shows the facts known so far. `Display` draws the
/// waterfall, at most 80 columns wide and without colors; [`waterfall`](Self::waterfall) can add colors. With the
/// feature `har` it becomes an HTTP archive for a browser (`to_har`). With `serde` it can be serialized.
///
/// # Example
///
/// ```no_run
/// # async fn f(client: sevenhops::Client) -> Result<(), sevenhops::Error> {
/// let response = client.get("https://api.test/v1/charges").send().await?;
/// let timeline = response.timeline().cloned();
/// let body = response.bytes().await?;
/// println!("{}", timeline.unwrap()); // to the last byte
/// # drop(body); Ok(()) }
/// ```
#[derive(Clone)]
pub struct Timeline(pub(crate) Call);

impl Timeline {
    /// Returns the timeline of a response that was converted to another type, from its extensions. A response of
    /// [`Client`](crate::Client) keeps it as an `http::Response` or a `reqwest::Response`. `None` if this crate did not
    /// receive the response.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # #[cfg(feature = "reqwest")]
    /// # async fn f(client: sevenhops::Client) -> Result<(), sevenhops::Error> {
    /// let response = client.get("https://api.test/v1/charges").send().await?;
    /// let theirs = reqwest::Response::from(response);
    /// let timeline = sevenhops::Timeline::from_extensions(theirs.extensions());
    /// # drop(timeline); Ok(()) }
    /// ```
    #[must_use]
    pub fn from_extensions(extensions: &Extensions) -> Option<Self> {
        extensions.get::<Call>().cloned().map(Self)
    }

    /// Puts the timeline into the extensions of a response, for [`from_extensions`](Self::from_extensions). A response of
    /// your own stack keeps its timeline that way when it is converted, for example to a
    /// [`Response`](crate::Response) of this crate.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use sevenhops::{Response, StandardService, Transport};
    /// use tower::ServiceExt;
    ///
    /// # async fn f(stack: StandardService<Transport>) -> Result<(), Box<dyn std::error::Error>> {
    /// let request = http::Request::get("https://api.test/").body(String::new())?;
    /// let mut response = stack.oneshot(request).await?;
    /// let timeline = response.body().timeline().clone();
    /// timeline.insert_into(response.extensions_mut());
    /// let response = Response::from(response).error_for_status()?; // its error has the timeline
    /// # drop(response); Ok(()) }
    /// ```
    pub fn insert_into(self, extensions: &mut Extensions) {
        extensions.insert(self.0);
    }

    /// Returns the request's method; `None` for an operation.
    #[must_use]
    pub fn method(&self) -> Option<&Method> {
        self.0.method()
    }

    /// Returns the request's URL without possible secrets: userinfo, query and fragment. For an operation, returns its
    /// destination.
    #[must_use]
    pub fn url(&self) -> String {
        self.0.url()
    }

    /// Returns the subject of the call: method and URL, or an operation and its destination.
    pub(crate) fn asked(&self) -> &CallTarget {
        self.0.asked()
    }

    /// Returns the route name of the request for telemetry.
    #[must_use]
    pub fn route(&self) -> Option<&str> {
        self.0.route()
    }

    /// Returns the time from the beginning of another call to the beginning of this one.
    pub(super) fn since(&self, other: &Self) -> Duration {
        let began = other.0.started();
        self.0.started().saturating_duration_since(began)
    }

    /// Returns the start of the call by the wall clock.
    #[must_use]
    pub fn started_at(&self) -> SystemTime {
        self.0.started_at()
    }

    /// Returns the duration of the call so far.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    /// Returns the time left until the deadline of the call. A layer of yours may tell it to the server.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.0.deadline().saturating_duration_since(clock::now())
    }

    /// Returns the attempts, in order.
    #[must_use]
    pub fn attempts(&self) -> Vec<Attempt> {
        let trackers = self.0.trackers().into_iter();
        let numbered = trackers.enumerate();
        numbered
            .map(|(at, tracker)| Attempt::read(at + 1, &tracker, &self.0))
            .collect()
    }

    /// Returns the number of attempts.
    #[must_use]
    pub fn attempt_count(&self) -> u32 {
        self.0.attempt_count()
    }

    /// Returns the events between the attempts, in order: waits, redirects, rejections.
    #[must_use]
    pub fn events(&self) -> Vec<TimelineEvent> {
        self.0.notes()
    }

    /// Returns why the last failure was not retried; `None` if there is no such failure.
    #[must_use]
    pub fn no_retry_reason(&self) -> Option<NoRetryReason> {
        self.0.no_retry_reason()
    }

    /// Returns the effect of the call so far: the greatest effect of its attempts.
    #[must_use]
    pub fn effect(&self) -> Effect {
        self.0.effect()
    }

    /// Returns whether a response with this status may be the result of an earlier attempt of the same call. Do not take
    /// it for the result of the call then: report a failure whose effect is possible.
    ///
    /// The first copy of a conditional PUT is carried out, and its response is lost. The second copy gets a 412, because
    /// the resource has changed: by the first copy. That is so for each 4xx to a method that is not safe, if another
    /// attempt of the call may have had an effect.
    ///
    /// A response that a server replays to an idempotency key is the result of the call. The timeline does not know
    /// that: look at [`is_replayed`](crate::policy::idempotency::is_replayed) first if your requests have keys.
    ///
    /// # Example
    ///
    /// ```
    /// use http::Response;
    /// use sevenhops::Timeline;
    ///
    /// /// What an SDK may take for the result of its request.
    /// fn is_result<B>(response: &Response<B>, timeline: &Timeline) -> bool {
    ///     !timeline.is_in_doubt(response.status())
    /// }
    /// ```
    #[must_use]
    pub fn is_in_doubt(&self, status: StatusCode) -> bool {
        self.0.is_in_doubt(status)
    }

    /// Returns the outcome of the call, if it has ended.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        match (self.0.failure(), self.0.ended()) {
            (Some(diagnosis), _) => Some(Outcome::from(diagnosis)),
            (None, None) => None,
            (None, Some(_)) => Some(match self.0.answered() {
                None => Outcome::Cancelled,
                Some(answered) if self.0.has_substitute() => answered,
                Some(answered) => match self.0.record_of_answer(answered) {
                    Some(record) => Attempt::read(0, &record, &self.0).outcome,
                    None => self.0.failed().map_or(answered, Outcome::from),
                },
            }),
        }
    }

    /// Returns the catalog's entry for the failure of the call: what happened, what it proves, and what to do now.
    /// `None` if the call did not fail.
    #[must_use]
    pub fn explain(&self) -> Option<Explanation> {
        let Outcome::Failed { hop, kind, .. } = self.outcome()? else {
            return None;
        };
        let events = self.0.notes().into_iter();
        let mut kinds = events.map(|event| event.kind);
        let of_call = self.effect();
        Some(match hop {
            Some(hop) => Explanation::of_failure(hop, kind, of_call),
            None if kinds.any(|kind| matches!(kind, TimelineEventKind::Rejected(_))) => {
                Explanation::of_rejection(kind, of_call)
            }
            None => Explanation::without_hop(self.method().is_none(), kind, of_call),
        })
    }

    /// Returns the waterfall, with optional colors.
    #[must_use]
    pub fn waterfall(&self) -> Waterfall<'_> {
        Waterfall::new(self)
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.waterfall().fmt(f)
    }
}

impl fmt::Debug for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeline")
            .field("asked", &self.asked().to_string())
            .field("elapsed", &self.elapsed())
            .field("attempts", &self.attempts())
            .field("outcome", &self.outcome())
            .finish()
    }
}

impl Call {
    pub(crate) fn timeline(&self) -> Timeline {
        Timeline(self.clone())
    }
}

/// Adds an observer, which is called after the one before.
pub(crate) fn also(
    before: Option<Observer>,
    site: Site,
    observe: impl Fn(&Timeline) + Send + Sync + 'static,
) -> Observer {
    let observe: Observer =
        Arc::new(move |call| callback::observe(&site, || observe(&call.timeline())));
    both(before, Some(Arc::clone(&observe))).unwrap_or(observe)
}

/// Returns an observer that calls both, one after the other.
pub(crate) fn both(first: Option<Observer>, second: Option<Observer>) -> Option<Observer> {
    match (first, second) {
        (Some(first), Some(second)) => Some(Arc::new(move |call| {
            first(call);
            second(call);
        })),
        (first, second) => first.or(second),
    }
}
