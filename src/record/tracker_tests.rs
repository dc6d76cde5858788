//! The order of things, told by addition: who came first is the truth.

use std::sync::{Weak, mpsc};
use std::thread;
use std::time::Duration;

use http::StatusCode;
use tracing::subscriber::with_default;
use tracing::{Dispatch, span};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};

use super::*;
use crate::call::Call;
use crate::limit::Limits;
use crate::timeline::{Attempt, RowEnd};

fn tracker() -> Tracker {
    let limits = Limits::new(Duration::from_secs(10)).unwrap();
    Tracker::new(limits, AttemptSpans::default(), clock::now())
}

/// With a second subscriber about, each is asked of its own thread's spans.
fn listening(layer: impl Layer<Registry> + Send + Sync, with: impl FnOnce()) {
    static ANOTHER: OnceLock<Dispatch> = OnceLock::new();
    ANOTHER.get_or_init(|| Dispatch::new(tracing_subscriber::registry()));
    with_default(tracing_subscriber::registry().with(layer), with);
}

/// Its attempt has a span, if anybody listens.
fn listened_to() -> Tracker {
    let limits = Limits::new(Duration::from_secs(10)).unwrap();
    let mut request = http::Request::new(());
    let call = Call::begin(&mut request, limits.attempt());
    let spans = AttemptSpans::new(&call, (request.method(), request.uri()), (0, clock::now()));
    Tracker::new(limits, spans, clock::now())
}

fn here() -> Option<SocketAddr> {
    Some(([127, 0, 0, 1], 80).into())
}

fn entered(tracker: &Tracker) -> Vec<Stage> {
    let events = tracker.events();
    let entered = events.filter(|(_, event, _)| *event == Event::Entered);
    entered.map(|(stage, ..)| stage).collect()
}

#[test]
fn request_that_was_given_up_cannot_be_taken_any_more() {
    let tracker = tracker();
    assert!(!tracker.give_up());
    assert!(!tracker.take());
    assert!(!tracker.is_taken());
}

#[test]
fn request_that_was_taken_stays_taken_when_it_is_given_up() {
    let tracker = tracker();
    assert!(tracker.take());
    assert!(tracker.give_up());
    assert!(tracker.is_taken());
    assert!(!tracker.take(), "its body is not sent any further");
}

#[test]
fn answer_that_overtakes_the_request_leaves_no_wait() {
    let tracker = tracker();
    tracker.begin();
    tracker.queued();
    tracker.take();
    tracker.head(StatusCode::PAYLOAD_TOO_LARGE, None);
    tracker.sent_all();
    assert_eq!(entered(&tracker), [Stage::Send, Stage::Receive]);
    assert_eq!(tracker.open(), Some(Stage::Receive));
}

#[test]
fn connection_made_after_the_request_was_taken_is_not_this_attempts() {
    let tracker = tracker();
    tracker.begin();
    tracker.queued();
    tracker.take();
    tracker.connecting(here());
    assert_eq!(entered(&tracker), [Stage::Send]);
    assert!(tracker.facts(|facts| facts.dials.is_empty()));
}

#[test]
fn connection_that_was_thought_ready_is_given_back_when_another_is_made() {
    let tracker = tracker();
    tracker.begin();
    tracker.queued();
    tracker.connecting(here());
    tracker.handshaking();
    tracker.connected();
    assert!(tracker.is_own_connection());
    tracker.take();
    let expected = [Stage::Send, Stage::Connect, Stage::Tls, Stage::Send];
    assert_eq!(entered(&tracker), expected);
}

#[test]
fn nothing_is_queued_for_once_the_request_was_sent_answered_or_given_up() {
    let sent = |tracker: &Tracker| {
        tracker.take();
        tracker.sent_all();
    };
    let answered = |tracker: &Tracker| tracker.head(StatusCode::OK, None);
    let given_up = |tracker: &Tracker| {
        tracker.give_up();
    };
    for end in [sent, answered, given_up] {
        let tracker = tracker();
        end(&tracker);
        let before = entered(&tracker);
        tracker.queued();
        assert_eq!(entered(&tracker), before);
    }
}

#[test]
fn freed_connection_that_wins_leaves_the_set_up_behind() {
    let tracker = tracker();
    tracker.begin();
    tracker.connecting(here());
    tracker.take();
    tracker.sent_all();
    assert!(!tracker.is_own_connection());
    assert_eq!(tracker.open(), Some(Stage::Wait));
    tracker.connected();
    assert_eq!(
        entered(&tracker),
        [Stage::Connect, Stage::Send, Stage::Wait]
    );
    let abandoned = (Stage::Connect, Event::Ended(End::Abandoned));
    assert!(
        tracker
            .events()
            .any(|(stage, event, _)| (stage, event) == abandoned)
    );
}

#[test]
fn connection_of_a_client_that_reports_no_sending_is_waited_on() {
    let tracker = tracker();
    for _ in 0..2 {
        // The second time, because the first connection died before it took the request.
        tracker.enter(Stage::Dns);
        assert_eq!(tracker.open(), Some(Stage::Dns));
        tracker.resolved();
        tracker.connecting(here());
        tracker.handshaking();
        tracker.connected();
    }
    let each = [Stage::Dns, Stage::Connect, Stage::Tls, Stage::Wait];
    assert_eq!(entered(&tracker), [each, each].concat());
    assert_eq!(tracker.open(), Some(Stage::Wait));
    tracker.connecting(here());
    assert_eq!(tracker.open(), Some(Stage::Connect));
}

#[test]
fn first_failure_is_the_one_that_is_kept() {
    let tracker = tracker();
    tracker.enter(Stage::Dns);
    let first = Diagnosis::new(crate::Hop::Dns, Kind::Timeout, crate::Effect::None);
    let second = Diagnosis::new(crate::Hop::Server, Kind::Closed, crate::Effect::Done);
    tracker.fail(first);
    tracker.fail(second);
    tracker.finish();
    assert_eq!(tracker.failure(), Some(first));
    assert_eq!(tracker.open(), None);
}

#[test]
fn stage_that_is_told_of_after_the_end_opens_no_span() {
    #[derive(Clone, Default)]
    struct Open(Arc<AtomicU32>);
    impl<S: tracing::Subscriber> Layer<S> for Open {
        fn on_new_span(&self, _: &span::Attributes<'_>, _: &span::Id, _: Context<'_, S>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        fn on_close(&self, _: span::Id, _: Context<'_, S>) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
    let open = Open::default();
    let count = || open.0.load(Ordering::Relaxed);
    listening(open.clone(), || {
        let tracker = listened_to();
        assert_eq!(count(), 1);
        tracker.finish();
        // The connection's task left the send a moment before, and tells of the wait now.
        tracker.spans().open(Stage::Wait, clock::now());
        assert_eq!(count(), 0);
    });
}

#[test]
fn subscriber_that_blocks_keeps_nobody_else_waiting() {
    /// While it hears of a stage, another thread wants to know of the attempt.
    struct Blocks(Arc<OnceLock<Weak<Tracker>>>, mpsc::Sender<bool>);
    impl<S: tracing::Subscriber> Layer<S> for Blocks {
        fn on_new_span(&self, _: &span::Attributes<'_>, _: &span::Id, _: Context<'_, S>) {
            let Some(tracker) = self.0.get().and_then(Weak::upgrade) else {
                return; // it is being made
            };
            let (tell, told) = mpsc::channel();
            thread::spawn(move || tell.send(tracker.spans().attempt().is_disabled()));
            let _ = self
                .1
                .send(told.recv_timeout(Duration::from_secs(10)).is_ok());
        }
    }
    let (tell, told) = mpsc::channel();
    let heard = Arc::new(OnceLock::new());
    let blocks = Blocks(Arc::clone(&heard), tell);
    listening(blocks, || {
        let tracker = Arc::new(listened_to());
        heard.set(Arc::downgrade(&tracker)).unwrap();
        tracker.spans().open(Stage::Wait, clock::now());
    });
    assert!(told.try_recv().unwrap());
}

#[test]
fn each_connect_has_one_address_also_where_a_dial_overtakes_another() {
    let tracker = tracker();
    tracker.begin();
    let to = |last: u8| Some(([127, 0, 0, last], 80).into());
    tracker.connecting(to(1));
    tracker.connecting(to(2));
    tracker.overcome(Kind::Refused);
    tracker.connecting(to(3));
    assert_eq!(entered(&tracker), [Stage::Connect, Stage::Connect]);
    assert_eq!(tracker.facts(|facts| facts.dials.clone()), [to(2), to(3)]);
}

#[test]
fn nothing_begins_once_the_attempt_is_over() {
    let tracker = tracker();
    tracker.begin();
    tracker.finish();
    tracker.enter(Stage::Dns);
    tracker.connecting(here());
    tracker.queued();
    tracker.waiting();
    assert_eq!((tracker.open(), entered(&tracker)), (None, Vec::new()));
}

#[test]
fn end_that_is_written_before_its_beginning_belongs_to_it() {
    let mut request = http::Request::new(());
    let call = Call::begin(
        &mut request,
        Limits::new(Duration::from_secs(10)).unwrap().attempt(),
    );
    let tracker = tracker();
    // The connection's task was quicker to write than the attempt's own.
    let left = Event::Ended(End::Left);
    let written = [
        (Stage::Send, left, 20),
        (Stage::Wait, Event::Entered, 20),
        (Stage::Send, Event::Entered, 10),
        (Stage::Receive, Event::Entered, 30),
        (Stage::Wait, left, 30),
    ];
    for (stage, event, nanos) in written {
        tracker.log.push(stage, event, nanos);
    }
    tracker.ended.store(70, Ordering::Release);
    let rows = Attempt::read(1, &Arc::new(tracker), &call).rows;
    let told: Vec<_> = rows
        .iter()
        .map(|row| (row.stage, row.duration.as_nanos(), row.end))
        .collect();
    let expected = [(Stage::Send, 10), (Stage::Wait, 10), (Stage::Receive, 40)];
    assert_eq!(
        told,
        expected.map(|(stage, took)| (stage, took, RowEnd::Left))
    );
}

#[test]
fn span_of_a_stage_that_is_left_while_it_is_made_is_closed_then() {
    /// The request is sent by another hand just when the span of its sending is made.
    struct Sends(Arc<OnceLock<Weak<Tracker>>>, mpsc::Sender<&'static str>);
    impl<S: tracing::Subscriber + for<'s> LookupSpan<'s>> Layer<S> for Sends {
        fn on_new_span(&self, of: &span::Attributes<'_>, _: &span::Id, _: Context<'_, S>) {
            let tracker = self.0.get().and_then(Weak::upgrade);
            if let Some(tracker) = tracker.filter(|_| of.metadata().name() == "send") {
                tracker.sent_all();
            }
        }
        fn on_close(&self, id: span::Id, context: Context<'_, S>) {
            let name = context.span(&id).map(|span| span.name());
            let _ = name.map(|name| self.1.send(name));
        }
    }
    let (tell, told) = mpsc::channel();
    let heard = Arc::new(OnceLock::new());
    let sends = Sends(Arc::clone(&heard), tell);
    listening(sends, || {
        let tracker = Arc::new(listened_to());
        heard.set(Arc::downgrade(&tracker)).unwrap();
        tracker.begin();
        tracker.queued();
        assert_eq!(told.try_recv(), Ok("send"), "it is over, the wait goes on");
        assert!(told.try_recv().is_err());
    });
}

#[test]
fn wait_fails_by_the_status_whatever_becomes_of_the_body() {
    let mut request = http::Request::new(());
    let attempt_limit = Limits::new(Duration::from_secs(10)).unwrap().attempt();
    let call = Call::begin(&mut request, attempt_limit);
    let unavailable = Diagnosis::new(crate::Hop::Server, Kind::Unavailable, crate::Effect::None);
    let timeout = Diagnosis::new(crate::Hop::Receive, Kind::Timeout, crate::Effect::Possible);
    // It may also come before the request was sent: what was not waited for fails all the same.
    for is_sent in [true, false] {
        let tracker = tracker();
        tracker.begin();
        tracker.queued();
        if is_sent {
            tracker.sent_all();
        }
        tracker.head(StatusCode::SERVICE_UNAVAILABLE, Some(unavailable));
        tracker.fail(timeout);
        let rows = Attempt::read(1, &Arc::new(tracker), &call).rows;
        let failed: Vec<_> = rows
            .iter()
            .filter(|row| matches!(row.end, RowEnd::Failed(_)))
            .map(|row| (row.stage, row.end))
            .collect();
        let expected = [
            (Stage::Wait, Kind::Unavailable),
            (Stage::Receive, Kind::Timeout),
        ];
        assert_eq!(
            failed,
            expected.map(|(stage, kind)| (stage, RowEnd::Failed(kind)))
        );
    }
}
