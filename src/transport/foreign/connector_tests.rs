//! Setups that another task polls.

use std::future::pending;

use super::*;
use crate::hop::{Kind, Stage};
use crate::telemetry::AttemptSpans;
use crate::timeout::Timeouts;

#[tokio::test(start_paused = true)]
async fn setup_that_another_task_polls_is_detached() {
    let tracker = tracker();
    let mut left = Box::pin(dial(&tracker).await);
    assert_eq!(tracker.open(), Some(Stage::Connect));

    // hyper spawned the setup, because another connection was freed; that one has no room yet.
    let mut context = Context::from_waker(std::task::Waker::noop());
    assert!(left.as_mut().poll(&mut context).is_pending());
    assert_eq!(tracker.open(), Some(Stage::Send));
}

#[tokio::test(start_paused = true)]
async fn detached_setup_does_not_close_a_later_one() {
    let tracker = tracker();
    let mut left = Box::pin(dial(&tracker).await);
    // The connection that was freed had died, and handed the request back.
    let later = dial(&tracker).await;
    let mut context = Context::from_waker(std::task::Waker::noop());
    assert!(left.as_mut().poll(&mut context).is_pending());
    assert_eq!(tracker.open(), Some(Stage::Connect));
    drop(later);
}

#[tokio::test(start_paused = true)]
async fn detached_setup_does_not_queue_once_a_later_one_has_failed() {
    let tracker = tracker();
    let mut left = Box::pin(dial(&tracker).await);
    drop(dial(&tracker).await);
    tracker.overcome(Kind::Refused);

    let mut context = Context::from_waker(std::task::Waker::noop());
    assert!(left.as_mut().poll(&mut context).is_pending());
    assert_eq!(tracker.open(), None);
}

/// A connection that is never established, begun by the attempt.
async fn dial(tracker: &Arc<Tracker>) -> Connecting<impl Future<Output = Made> + use<>> {
    let setup = Setup::new(Some("api.test".into()), tracker.timeouts());
    setup.watch_look_up(Arc::clone(tracker), false);
    setup.dialling(Some(([127, 0, 0, 1], 9).into()));
    Connecting::new(pending::<Made>(), setup)
}

fn tracker() -> Arc<Tracker> {
    let timeouts = Timeouts::new(Duration::from_secs(10)).unwrap();
    let spans = AttemptSpans::default();
    let tracker = Tracker::new(timeouts, spans, clock::now());
    tracker.begin();
    Arc::new(tracker)
}

type Made = Result<(), BoxError>;
