//! The order of events, tested with computed times: the first event wins.

use std::thread;
use std::time::Duration;

use http::StatusCode;

use super::*;
use crate::call::Call;
use crate::hop::{Effect, Hop};
use crate::record::stages::StageRecord;
use crate::timeline::{Attempt, StageOutcome};
use crate::timeout::Timeouts;

pub(super) fn tracker() -> Tracker {
    let timeouts = Timeouts::new(Duration::from_secs(10)).unwrap();
    Tracker::new(timeouts, AttemptSpans::default(), clock::now())
}

pub(super) fn here() -> Option<SocketAddr> {
    Some(([127, 0, 0, 1], 80).into())
}

fn addresses(tracker: &Tracker) -> Vec<Option<SocketAddr>> {
    let stages = tracker.read().stages;
    let connects = stages
        .iter()
        .filter(|record| record.stage == Stage::Connect);
    connects.map(|record| record.address).collect()
}

pub(super) fn entered(tracker: &Tracker) -> Vec<Stage> {
    let stages = tracker.read().stages;
    stages.iter().map(|record| record.stage).collect()
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
fn response_before_the_end_of_the_request_leaves_no_wait() {
    let tracker = tracker();
    tracker.begin();
    tracker.queued();
    tracker.take();
    tracker.head(StatusCode::PAYLOAD_TOO_LARGE, None, clock::now());
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
}

#[test]
fn connection_that_seemed_ready_is_released_when_another_is_made() {
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
fn body_that_is_withheld_ends_the_sending_and_is_not_waited_for_once_the_head_is_here() {
    for is_late in [false, true] {
        let tracker = tracker();
        tracker.begin();
        tracker.connecting(None);
        tracker.connected();
        assert!(tracker.take());
        if is_late {
            tracker.head(StatusCode::EXPECTATION_FAILED, None, clock::now());
        }
        tracker.withheld();
        let send = tracker.read().stages.latest(Stage::Send).unwrap().ended;
        assert!(matches!(send, Some((_, End::Abandoned))));
        let open = if is_late { Stage::Receive } else { Stage::Wait };
        assert_eq!(tracker.open(), Some(open));
    }
}

#[test]
fn attempt_does_not_queue_once_the_request_was_sent_answered_or_given_up() {
    let sent = |tracker: &Tracker| {
        tracker.take();
        tracker.sent_all();
    };
    let answered = |tracker: &Tracker| tracker.head(StatusCode::OK, None, clock::now());
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
fn freed_connection_that_comes_first_detaches_the_setup() {
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
    let stages = tracker.read().stages;
    let ended = stages
        .latest(Stage::Connect)
        .and_then(|connect| connect.ended);
    assert_eq!(ended.map(|(_, end)| end), Some(End::Abandoned));
}

#[test]
fn connection_of_a_client_that_reports_no_sending_is_waited_on() {
    let tracker = tracker();
    for _ in 0..2 {
        // Again, because the first connection died before it took the request.
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
    let first = Diagnosis::new(Hop::Dns, Kind::Timeout, Effect::None);
    let second = Diagnosis::new(Hop::Server, Kind::Closed, Effect::Done);
    tracker.fail(first);
    tracker.fail(second);
    tracker.finish();
    assert_eq!(tracker.failure(), Some(first));
    assert_eq!(tracker.open(), None);
}

#[test]
fn each_connect_has_one_address_even_if_a_dial_overtakes_another() {
    let tracker = tracker();
    tracker.begin();
    let to = |last: u8| Some(([127, 0, 0, last], 80).into());
    tracker.connecting(to(1));
    tracker.connecting(to(2));
    tracker.overcome(Kind::Refused);
    tracker.connecting(to(3));
    assert_eq!(entered(&tracker), [Stage::Connect, Stage::Connect]);
    assert_eq!(addresses(&tracker), [to(2), to(3)]);
}

#[test]
fn nothing_begins_once_the_attempt_is_over() {
    let tracker = tracker();
    tracker.begin();
    tracker.finish();
    tracker.enter(Stage::Dns);
    tracker.connecting(here());
    tracker.queued();
    tracker.waiting(clock::now());
    assert_eq!((tracker.open(), entered(&tracker)), (None, Vec::new()));
}

#[test]
fn stages_are_in_the_order_of_their_times_whichever_task_reports() {
    const DIALS: usize = 500;
    let tracker = tracker();
    tracker.begin();
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..DIALS {
                tracker.connecting(here());
                tracker.overcome(Kind::Refused);
            }
        });
        scope.spawn(|| {
            for _ in 0..DIALS {
                tracker.enter(Stage::Dns);
                tracker.resolved();
            }
        });
    });
    tracker.finish();
    let Store { stages, ended, .. } = tracker.read();
    let ended = ended.unwrap();
    assert_eq!(
        stages.iter().count(),
        2 * DIALS,
        "each stage has its record"
    );
    assert!(stages.iter().is_sorted_by_key(|record| record.entered));
    for stage in [Stage::Dns, Stage::Connect] {
        let mut free = tracker.started();
        for record in stages.iter().filter(|record| record.stage == stage) {
            let (at, _) = record.ended.expect("the end closes every stage");
            assert!(free <= record.entered && record.entered <= at && at <= ended);
            free = at;
        }
    }
}

#[test]
fn caller_that_read_the_clock_before_another_task_reported_comes_after_it() {
    let tracker = tracker();
    tracker.begin();
    let early = clock::now();
    tracker.enter(Stage::Dns);
    tracker.resolved();
    tracker.head(StatusCode::OK, None, early);
    tracker.finish_at(early);
    let Store { stages, ended, .. } = tracker.read();
    let (at, _) = stages.latest(Stage::Dns).unwrap().ended.unwrap();
    let receive = stages.latest(Stage::Receive).unwrap();
    assert!(at <= receive.entered);
    assert!(Some(receive.entered) <= ended && receive.ended.unwrap().0 <= ended.unwrap());
}

#[test]
fn each_failed_dial_keeps_the_kind_of_its_own_failure() {
    let mut request = http::Request::new(());
    let attempt_timeout = Timeouts::new(Duration::from_secs(10)).unwrap().attempt();
    let call = Call::begin(&mut request, attempt_timeout);
    let tracker = tracker();
    tracker.begin();
    tracker.enter(Stage::Dns);
    tracker.connecting(here());
    tracker.overcome(Kind::Refused); // the lookup fails with the dial
    tracker.connecting(here());
    let failure = Diagnosis::new(Hop::Connect, Kind::Timeout, Effect::None);
    tracker.fail(failure);
    let rows = Attempt::read(1, &Arc::new(tracker), &call).stages;
    let ends: Vec<_> = rows.iter().map(|row| (row.stage, row.end)).collect();
    let expected = [
        (Stage::Dns, StageOutcome::Failed(Kind::Refused)),
        (Stage::Connect, StageOutcome::Failed(Kind::Refused)),
        (Stage::Connect, StageOutcome::Failed(Kind::Timeout)),
    ];
    assert_eq!(ends, expected);
}

#[test]
fn wait_fails_by_the_status_whatever_happens_to_the_body() {
    let mut request = http::Request::new(());
    let attempt_timeout = Timeouts::new(Duration::from_secs(10)).unwrap().attempt();
    let call = Call::begin(&mut request, attempt_timeout);
    let unavailable = Diagnosis::new(Hop::Server, Kind::Unavailable, Effect::None);
    let timeout = Diagnosis::new(Hop::Receive, Kind::Timeout, Effect::Possible);
    // It may also come before the request was sent. Then there was no wait, and the attempt still fails.
    for is_sent in [true, false] {
        let tracker = tracker();
        tracker.begin();
        tracker.queued();
        if is_sent {
            tracker.sent_all();
        }
        tracker.head(
            StatusCode::SERVICE_UNAVAILABLE,
            Some(unavailable),
            clock::now(),
        );
        tracker.fail(timeout);
        let rows = Attempt::read(1, &Arc::new(tracker), &call).stages;
        let failed: Vec<_> = rows
            .iter()
            .filter(|row| matches!(row.end, StageOutcome::Failed(_)))
            .map(|row| (row.stage, row.end))
            .collect();
        let expected = [
            (Stage::Wait, Kind::Unavailable),
            (Stage::Receive, Kind::Timeout),
        ];
        assert_eq!(
            failed,
            expected.map(|(stage, kind)| (stage, StageOutcome::Failed(kind)))
        );
    }
}

pub(super) fn ends(tracker: &Tracker) -> Vec<(Stage, Option<End>)> {
    let stages = tracker.read().stages;
    let end = |record: &StageRecord| record.ended.map(|(_, end)| end);
    stages
        .iter()
        .map(|record| (record.stage, end(record)))
        .collect()
}

#[test]
fn wait_of_a_service_above_the_transport_is_over_when_the_request_is_queued() {
    let tracker = tracker();
    tracker.waiting(clock::now());
    tracker.begin();
    tracker.queued();
    assert_eq!(tracker.open(), Some(Stage::Send));
    let wait = (Stage::Wait, Some(End::Left));
    assert_eq!(ends(&tracker), [wait, (Stage::Send, None)]);
}
