//! What a call carries through the stack, in its request's extensions.

mod around;
mod asked;
mod attempts;
mod below;
mod key;
mod open;
mod shown;
mod wire;

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use http::{Extensions, HeaderMap, Method, Request, StatusCode, Uri};
use tokio::time::Instant;

use self::around::MOST_CALLS;
use self::open::Ears;

pub(crate) use self::around::{Around, effect_of_calls, has_heard_of};
#[cfg(feature = "client")]
pub(crate) use self::around::{attempt_of_request, heard_alone};
pub(crate) use self::asked::Asked;
pub(crate) use self::key::KeyMark;
pub(crate) use self::open::{Hold, Observer, WeakCall, also};
pub(crate) use self::shown::{ascii, redacted};
#[cfg(feature = "client")]
pub(crate) use self::wire::refuse_unmet;

use crate::clock;
use crate::error::Guard;
use crate::hop::tracker::Tracker;
use crate::hop::{Diagnosis, Keyed, NotRepeated, Note, Outcome, Timeline, What};
use crate::limit::Limit;
use crate::options::Options;
use crate::telemetry;

/// A call under way: what its layers share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Call(Arc<Inner>);

struct Inner {
    asked: Asked,
    options: Options,
    started: Instant,
    /// Read when somebody wants to know.
    started_at: OnceLock<SystemTime>,
    deadline: Instant,
    /// Nearly every call is one attempt: that one costs no list.
    first: OnceLock<Arc<Tracker>>,
    failure: OnceLock<Diagnosis>,
    ended: OnceLock<Instant>,
    key: OnceLock<KeyMark>,
    /// The key of the call around this one, as far as it holds here.
    outer_key: Option<KeyMark>,
    /// Whether an attempt of a stack above goes on in this call.
    is_in_attempt: bool,
    /// Whether somebody repeats already: a retry of this call, or of a call around it.
    repeated: AtomicBool,
    /// How many attempts whoever repeats may make.
    most_attempts: AtomicU32,
    /// How many attempts have begun.
    made: AtomicU32,
    /// How many attempts were made before the last redirect; 0 is none.
    leg: AtomicU32,
    led_away: AtomicBool,
    /// What the caller was given.
    answered: OnceLock<Outcome>,
    /// Whether the caller waits for more of it.
    waits: AtomicBool,
    /// How many work on it; at none it is over.
    holds: AtomicU32,
    /// Empty where nobody listens.
    ears: OnceLock<Ears>,
    /// What only a call that does not go straight through touches.
    cold: Mutex<Cold>,
}

#[derive(Default)]
struct Cold {
    more: Vec<Arc<Tracker>>,
    notes: Vec<Note>,
    not_repeated: Option<NotRepeated>,
    /// The calls of stacks below that go on with its request.
    inner: Vec<Call>,
    /// Where redirects have led.
    redirected_to: Option<Uri>,
    /// Something of the request that came back from below: a body that was never taken.
    returned: Option<Box<dyn Any + Send>>,
}

impl Call {
    /// Begins the call of a request, due at the latest after `limit`, and puts it into the
    /// request's extensions. A call around it is honoured: its deadline holds here too, and what it
    /// repeats is not repeated here.
    pub(crate) fn begin<B>(request: &mut Request<B>, limit: Limit) -> Self {
        let outer = Self::of(request.extensions());
        let options = request.extensions_mut().remove::<Options>();
        let asked = Asked::Request {
            method: request.method().clone(),
            uri: request.uri().clone(),
        };
        let call = Self::start(asked, options.unwrap_or_default(), limit, outer);
        request.extensions_mut().insert(call.clone());
        call
    }

    /// Begins the call of an operation, due at the latest after `limit`. An operation around it is
    /// honoured.
    pub(crate) fn operate(asked: Asked, limit: Limit) -> Self {
        Self::start(asked, Options::default(), limit, None)
    }

    fn start(asked: Asked, mut options: Options, limit: Limit, above: Option<Self>) -> Self {
        let started = clock::now();
        let own = clock::after(started, options.deadline.unwrap_or(limit).get());
        let around = above.is_none().then(Around::current).flatten();
        let outer = above
            .as_ref()
            .or_else(|| around.as_ref().map(|around| &around.call));
        let relation = outer.map(|outer| outer.relation_to(&asked));
        if let Some((outer, relation)) = outer.zip(relation) {
            options.inherit_from(outer.options(), relation);
        }
        let ends = around.as_ref().map(|around| around.ends);
        let ends = [options.inherited.deadline, ends];
        let deadline = ends.into_iter().flatten().fold(own, Instant::min);
        // The calls below find it there.
        options.inherited.deadline = Some(deadline);
        let retries = |outer: &&Self| outer.is_repeated();
        let retries = outer.filter(retries).map(|by| by.most_attempts().max(2));
        let most = options.inherited.most.max(retries);
        let outer_key = outer.and_then(Self::key).zip(relation);
        let outer_key = outer_key.and_then(|(key, to)| key.below(to, options.honours_keys));
        let is_in_attempt = above.as_ref().is_some_and(Self::is_in_attempt);
        let call = Self(Arc::new(Inner {
            asked,
            options,
            started,
            started_at: OnceLock::new(),
            deadline,
            first: OnceLock::new(),
            failure: OnceLock::new(),
            ended: OnceLock::new(),
            key: OnceLock::new(),
            outer_key,
            is_in_attempt,
            repeated: AtomicBool::new(most.is_some()),
            most_attempts: AtomicU32::new(most.unwrap_or(1)),
            made: AtomicU32::new(0),
            leg: AtomicU32::new(0),
            led_away: AtomicBool::new(false),
            answered: OnceLock::new(),
            waits: AtomicBool::new(false),
            holds: AtomicU32::new(1),
            ears: OnceLock::new(),
            cold: Mutex::default(),
        }));
        if let Some(around) = around {
            around.heard(&call);
        }
        if let Some(above) = above {
            above.goes_on_in(&call);
        }
        call
    }

    /// The call that a request belongs to.
    pub(crate) fn of(extensions: &Extensions) -> Option<Self> {
        extensions.get::<Self>().cloned()
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn asked(&self) -> &Asked {
        &self.0.asked
    }

    pub(crate) fn method(&self) -> Option<&Method> {
        self.0.asked.method()
    }

    /// The URL as it may be shown: see [`redacted`].
    pub(crate) fn url(&self) -> String {
        self.0.asked.url()
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

    /// When it began, by the wall clock as it stood when this was first asked.
    pub(crate) fn started_at(&self) -> SystemTime {
        *self.0.started_at.get_or_init(|| {
            let since = clock::now().saturating_duration_since(self.0.started);
            let now = clock::wall();
            now.checked_sub(since).unwrap_or(now)
        })
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.0.deadline
    }

    pub(crate) fn elapsed(&self) -> Duration {
        let end = self.ended().unwrap_or_else(clock::now);
        end.saturating_duration_since(self.0.started)
    }

    /// Claims the repeating of this call; `None` if somebody does it already. Up to `most` attempts
    /// will be made.
    pub(crate) fn repeat(&self, most: u32) -> Option<Repeating> {
        if self.0.repeated.swap(true, Ordering::AcqRel) {
            return None;
        }
        self.0.most_attempts.store(most, Ordering::Relaxed);
        Some(Repeating(self.clone()))
    }

    pub(crate) fn is_repeated(&self) -> bool {
        self.0.repeated.load(Ordering::Acquire)
    }

    pub(crate) fn most_attempts(&self) -> u32 {
        self.0.most_attempts.load(Ordering::Relaxed)
    }

    /// A redirect is followed; it may lead away to another method or origin.
    pub(crate) fn redirected(&self, status: StatusCode, (uri, is_away): (&Uri, bool)) {
        self.0.led_away.fetch_or(is_away, Ordering::Relaxed);
        self.0
            .leg
            .store(self.attempt_count().max(1), Ordering::Relaxed);
        let url = redacted(uri);
        self.note(What::Redirected { status, url });
        self.cold().redirected_to = Some(uri.clone());
    }

    /// Where the call is now: its own URL, or the one that a redirect led to.
    pub(crate) fn current_uri(&self) -> Uri {
        let redirected_to = self.cold().redirected_to.clone();
        redirected_to.unwrap_or_else(|| self.0.asked.uri().cloned().unwrap_or_default())
    }

    /// Whether a redirect led away from the URL of the call.
    pub(crate) fn is_redirected(&self) -> bool {
        self.attempts_before_leg() > 0
    }

    /// How many attempts were made at other URLs.
    pub(crate) fn attempts_before_leg(&self) -> u32 {
        self.0.leg.load(Ordering::Relaxed)
    }

    pub(crate) fn note(&self, what: What) {
        telemetry::note(&self.span_for_events(), &what);
        let note = Note {
            attempts: self.attempt_count(),
            at: self.elapsed(),
            what,
        };
        self.cold().notes.push(note);
    }

    /// A guard lets nothing through; several layers may say so of one refusal.
    pub(crate) fn refused_by(&self, guard: Guard) {
        let (attempts, what) = (self.attempt_count(), What::Refused(guard));
        let said = |note: &Note| note.attempts == attempts && note.what == what;
        if !self.cold().notes.last().is_some_and(said) {
            self.note(what);
        }
    }

    pub(crate) fn notes(&self) -> Vec<Note> {
        self.cold().notes.clone()
    }

    /// Keeps why the last failure is not repeated; `None`: it is, or there was none.
    pub(crate) fn stop(&self, reason: Option<NotRepeated>) {
        self.cold().not_repeated = reason;
    }

    pub(crate) fn not_repeated(&self) -> Option<NotRepeated> {
        self.cold().not_repeated.clone()
    }

    /// Hands back what was not used of a request.
    pub(crate) fn give_back(&self, unused: Box<dyn Any + Send>) {
        self.cold().returned = Some(unused);
    }

    /// Takes what came back, if it is a `T`.
    pub(crate) fn reclaim<T: 'static>(&self) -> Option<T> {
        let returned = self.cold().returned.take()?;
        returned.downcast().ok().map(|unused| *unused)
    }

    pub(crate) fn timeline(&self) -> Timeline {
        Timeline(self.clone())
    }

    /// The call failed; the first word on it counts.
    pub(crate) fn fail(&self, diagnosis: Diagnosis) {
        let _ = self.0.failure.set(diagnosis);
        self.end();
    }

    /// The caller has its answer: with a status, or done.
    pub(crate) fn answer(&self, how: Outcome) {
        let _ = self.0.answered.set(how);
    }

    /// The caller waits for more of it, or does not: whoever leaves while it does goes away.
    pub(crate) fn wait_for_more(&self, waits: bool) {
        self.0.waits.store(waits, Ordering::Relaxed);
    }

    /// The answer that the caller has, as far as it wanted it.
    pub(crate) fn answered(&self) -> Option<Outcome> {
        let waits = self.0.waits.load(Ordering::Relaxed);
        self.0.answered.get().filter(|_| !waits).copied()
    }

    /// How it failed: by itself, or as it was answered.
    pub(crate) fn failed(&self) -> Option<Diagnosis> {
        self.failure()
            .or_else(|| match (self.answered()?, self.last()) {
                (_, Some(last)) => last.failure(),
                // Nobody followed its attempts.
                (Outcome::Answered(status), None) => {
                    Diagnosis::status(status, &HeaderMap::new(), Keyed::No)
                }
                _ => None,
            })
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

    fn cold(&self) -> MutexGuard<'_, Cold> {
        self.0.cold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to repeat a call: one at a time has it, so that stacks inside one another do not
/// multiply.
pub(crate) struct Repeating(Call);

impl Drop for Repeating {
    fn drop(&mut self) {
        self.0.0.most_attempts.store(1, Ordering::Relaxed);
        self.0.0.repeated.store(false, Ordering::Release);
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.timeline().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn call_inside_a_call_keeps_the_earlier_deadline() {
        let mut request = Request::new(());
        let outer = Call::begin(&mut request, Limit::from_secs(1));
        let inner = Call::begin(&mut request, Limit::from_secs(60));
        assert_eq!(inner.deadline(), outer.deadline());
    }
}
