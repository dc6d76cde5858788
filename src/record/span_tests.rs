//! The spans of an attempt follow its record, whichever task reports a stage first.

use std::sync::atomic::AtomicU32;
use std::sync::{OnceLock, Weak, mpsc};
use std::thread;
use std::time::Duration;

use tracing::subscriber::with_default;
use tracing::{Dispatch, span};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};

use super::*;
use crate::call::Call;
use crate::timeout::Timeouts;

fn here() -> Option<SocketAddr> {
    Some(([127, 0, 0, 1], 80).into())
}

/// Installs a second subscriber, so that each one is asked for the spans of its own thread.
fn listening(layer: impl Layer<Registry> + Send + Sync, with: impl FnOnce()) {
    static ANOTHER: OnceLock<Dispatch> = OnceLock::new();
    ANOTHER.get_or_init(|| Dispatch::new(tracing_subscriber::registry()));
    with_default(tracing_subscriber::registry().with(layer), with);
}

/// Returns a tracker whose attempt has a span, if a subscriber listens.
fn listened_to() -> Tracker {
    let timeouts = Timeouts::new(Duration::from_secs(10)).unwrap();
    let mut request = http::Request::new(());
    let call = Call::begin(&mut request, timeouts.attempt());
    let spans = AttemptSpans::new(&call, (request.method(), request.uri()), (0, clock::now()));
    Tracker::new(timeouts, spans, clock::now())
}

#[test]
fn stage_reported_after_the_end_opens_no_span() {
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
        // The connection's task left the send a moment before, and reports the wait now.
        tracker.spans().open(0, Stage::Wait, clock::now());
        assert_eq!(count(), 0);
    });
}

#[test]
fn subscriber_that_blocks_does_not_delay_other_threads() {
    /// While it is notified of a stage, another thread reads the attempt's record.
    struct Blocks(Arc<OnceLock<Weak<Tracker>>>, mpsc::Sender<bool>);
    impl<S: tracing::Subscriber> Layer<S> for Blocks {
        fn on_new_span(&self, _: &span::Attributes<'_>, _: &span::Id, _: Context<'_, S>) {
            let Some(tracker) = self.0.get().and_then(Weak::upgrade) else {
                return; // it is being made
            };
            let (tell, spans) = mpsc::channel();
            thread::spawn(move || tell.send(tracker.spans().attempt().is_disabled()));
            let _ = self
                .1
                .send(spans.recv_timeout(Duration::from_secs(10)).is_ok());
        }
    }
    let (tell, spans) = mpsc::channel();
    let shared = Arc::new(OnceLock::new());
    let blocks = Blocks(Arc::clone(&shared), tell);
    listening(blocks, || {
        let tracker = Arc::new(listened_to());
        shared.set(Arc::downgrade(&tracker)).unwrap();
        tracker.spans().open(0, Stage::Wait, clock::now());
    });
    assert!(spans.try_recv().unwrap());
}

#[test]
fn span_of_a_stage_that_is_left_while_it_is_made_is_closed_then() {
    /// Another thread sends the request just when the span of the send is created.
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
    let (tell, spans) = mpsc::channel();
    let shared = Arc::new(OnceLock::new());
    let sends = Sends(Arc::clone(&shared), tell);
    listening(sends, || {
        let tracker = Arc::new(listened_to());
        shared.set(Arc::downgrade(&tracker)).unwrap();
        tracker.begin();
        tracker.queued();
        assert_eq!(spans.try_recv(), Ok("send"), "it is over, the wait goes on");
        assert!(spans.try_recv().is_err());
    });
}

#[test]
fn span_of_a_second_dial_stays_open_if_it_overtakes_the_first() {
    /// The first dial fails and the second begins while the span of the first is created.
    struct Fails(Arc<OnceLock<Weak<Tracker>>>, mpsc::Sender<u64>, AtomicU32);
    impl<S: tracing::Subscriber> Layer<S> for Fails {
        fn on_new_span(&self, of: &span::Attributes<'_>, _: &span::Id, _: Context<'_, S>) {
            let tracker = self.0.get().and_then(Weak::upgrade);
            if let Some(tracker) = tracker.filter(|_| of.metadata().name() == "connect")
                && self.2.fetch_add(1, Ordering::Relaxed) == 0
            {
                tracker.overcome(Kind::Refused);
                tracker.connecting(here());
            }
        }
        fn on_close(&self, id: span::Id, _: Context<'_, S>) {
            let _ = self.1.send(id.into_u64());
        }
    }
    let (tell, spans) = mpsc::channel();
    let shared = Arc::new(OnceLock::new());
    let fails = Fails(Arc::clone(&shared), tell, AtomicU32::new(0));
    listening(fails, || {
        let tracker = Arc::new(listened_to());
        shared.set(Arc::downgrade(&tracker)).unwrap();
        tracker.begin();
        tracker.connecting(here());
        let first = spans.try_recv().expect("the first dial is over");
        assert!(spans.try_recv().is_err(), "the second dial goes on");
        tracker.finish();
        assert_ne!(spans.try_recv(), Ok(first));
    });
}
