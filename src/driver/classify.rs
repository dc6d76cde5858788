//! Calls the user's classifier for an attempt: once, for all policies.

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::Body;
use tokio::time::Instant;

use super::attempt::AttemptInFlight;
use super::drain::DRAIN_TIME;
use super::later::Resend;
use super::peek::PEEK_BYTES;
use super::run::Run;
use super::source::BodySource;
use crate::clock;
use crate::hop::{Diagnosis, FailureClass, Keyed, Outcome, effect_of_failed_success, is_failure};
use crate::policy::{Classified, Failure};

/// The part of a body that is received before its response is judged.
pub(super) enum Wanted {
    Nothing,
    /// The whole body, up to this number of bytes.
    Whole(usize),
    /// The bytes that come until this instant.
    Beginning(Instant),
}

impl Run {
    /// Handles the response head of an attempt. Returns which part of the body is received before the response is
    /// judged.
    pub(super) fn head<R>(
        &self,
        (flight, now): (&mut AttemptInFlight, Instant),
        response: &Response<R>,
    ) -> Wanted
    where
        R: Body,
    {
        if let Some(passed) = &mut flight.passed {
            passed.answered(now);
        }
        let attempt = flight.attempt.as_ref();
        if let Some(attempt) = attempt {
            attempt.head(&self.call, response, now);
            if is_failure(response.status()) {
                let hint = self.policies.hint(response.status(), response.headers());
                attempt.tracker.facts(|facts| facts.hint = hint);
            }
        }
        let Some(most_bytes) = self.call.options().whole_body else {
            return Wanted::Nothing;
        };
        // A redirect or a failure decides without the body.
        if response.status().is_redirection() {
            return Wanted::Nothing;
        }
        if attempt.is_some_and(|attempt| attempt.tracker.failure().is_none()) {
            return Wanted::Whole(most_bytes);
        }
        let classifier = self.policies.classifier();
        match classifier.is_some_and(|classifier| classifier.sees(response.status())) {
            true if !response.body().is_end_stream() => {
                // At most half of the time left, so that the deadline leaves time for a retry.
                let spare = self.call.deadline().saturating_duration_since(now) / 2;
                Wanted::Beginning(clock::after(now, DRAIN_TIME.min(spare)))
            }
            _ => Wanted::Nothing,
        }
    }

    /// Calls the classifier for a response.
    pub(super) fn classify_response<N, R>(
        &self,
        flight: &AttemptInFlight,
        response: &Response<BodySource<R>>,
        later: &mut N,
    ) -> Classified
    where
        N: Resend,
    {
        let (status, headers) = (response.status(), response.headers());
        let classifier = self.policies.classifier();
        if !classifier.is_some_and(|classifier| classifier.sees(status)) {
            return Classified::default();
        }
        let judged = self.call.judged(status);
        let judged = judged.or_else(|| Diagnosis::status(status, headers, Keyed::No));
        let outcome = judged.map_or(Outcome::Responded(status), Outcome::from);
        let (beginning, trailers) = response.body().beginning();
        let seen = Seen {
            headers: Some(headers),
            body: beginning.and_then(|bytes| decoded(headers, bytes)),
            trailers,
        };
        let class = self.class_of(outcome, seen, later);
        let failed = class.filter(|_| judged.is_none()).and_then(|class| {
            let effect = effect_of_failed_success(headers, trailers);
            Diagnosis::classified(status, class, effect)
        });
        if status.is_success() {
            self.record(flight, failed);
        }
        Classified { class, failed }
    }

    /// Calls the classifier for an attempt without a response.
    pub(super) fn classify_failure<N: Resend>(
        &self,
        failed: Diagnosis,
        later: &mut N,
    ) -> Option<FailureClass> {
        self.class_of(failed.into(), Seen::default(), later)
    }

    fn class_of<N: Resend>(
        &self,
        outcome: Outcome,
        seen: Seen<'_>,
        later: &mut N,
    ) -> Option<FailureClass> {
        let classifier = self.policies.classifier()?;
        let uri = self.call.current_uri();
        let (method, uri) = match later.saved() {
            Some(saved) => (&saved.method, &saved.uri),
            None => (self.call.method()?, &uri),
        };
        classifier.ask(&Failure {
            method,
            uri,
            outcome,
            headers: seen.headers,
            body: seen.body,
            trailers: seen.trailers,
        })
    }

    /// Records whether the classifier counts a 2xx as a failure: in the record of the attempt, or in the call if there
    /// is none.
    fn record(&self, flight: &AttemptInFlight, failed: Option<Diagnosis>) {
        let has_more = self.call.has_attempted_since(self.from);
        let below = || has_more.then(|| self.call.last()).flatten();
        match (flight.tracker().cloned().or_else(below), failed) {
            (Some(tracker), Some(failed)) => tracker.judge(failed),
            (Some(_), None) => {}
            (None, failed) => self.call.classify_success(failed),
        }
    }
}

/// The parts of a response.
#[derive(Default)]
struct Seen<'a> {
    headers: Option<&'a HeaderMap>,
    body: Option<Bytes>,
    trailers: Option<&'a HeaderMap>,
}

#[cfg(feature = "client")]
fn decoded(headers: &HeaderMap, encoded: Bytes) -> Option<Bytes> {
    crate::coding::beginning(headers, encoded, PEEK_BYTES)
}

/// Without the feature there is no decoder.
#[cfg(not(feature = "client"))]
fn decoded(headers: &HeaderMap, bytes: Bytes) -> Option<Bytes> {
    let is_plain = !headers.contains_key(http::header::CONTENT_ENCODING);
    is_plain.then(|| bytes.slice(..bytes.len().min(PEEK_BYTES)))
}
