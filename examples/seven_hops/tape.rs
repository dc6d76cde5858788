//! Records the spans of one call. They are the only trace of a call whose future was dropped.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing::instrument::WithSubscriber;
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// The recorded events.
#[derive(Clone, Default)]
pub(crate) struct Tape(Arc<Mutex<Heard>>);

#[derive(Default)]
struct Heard {
    spans: Vec<&'static str>,
    failures: usize,
}

impl Tape {
    /// Runs a future, and records its spans.
    pub(crate) async fn listen<F: Future>(&self, call: F) -> F::Output {
        let subscriber = tracing_subscriber::registry().with(self.clone());
        call.with_subscriber(subscriber).await
    }

    /// Returns whether a span of this name was opened.
    pub(crate) fn began(&self, name: &str) -> bool {
        self.heard().spans.contains(&name)
    }

    /// Returns how many spans were marked as failed.
    pub(crate) fn failures(&self) -> usize {
        self.heard().failures
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Subscriber> Layer<S> for Tape {
    fn on_new_span(&self, attributes: &Attributes<'_>, _id: &Id, _cx: Context<'_, S>) {
        self.heard().spans.push(attributes.metadata().name());
    }

    fn on_record(&self, _id: &Id, values: &Record<'_>, _cx: Context<'_, S>) {
        let mut marked = Marked(false);
        values.record(&mut marked);
        self.heard().failures += usize::from(marked.0);
    }
}

/// A visitor that finds the type of an error among the values.
struct Marked(bool);

impl Visit for Marked {
    fn record_debug(&mut self, field: &Field, _value: &dyn std::fmt::Debug) {
        self.0 |= field.name() == "error.type";
    }
}
