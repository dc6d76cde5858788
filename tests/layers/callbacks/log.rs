//! Collects the log entries of callbacks that panic.

use std::fmt;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// The callbacks that were logged, and the text of all events and spans.
#[derive(Clone, Default)]
pub(crate) struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    /// Listens on this thread.
    pub(crate) fn listen() -> (Self, DefaultGuard) {
        let told = Self::default();
        let subscriber = tracing_subscriber::registry().with(told.clone());
        (told, crate::listen::listen(subscriber))
    }

    pub(crate) fn callbacks(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

#[derive(Default)]
struct Said(Option<String>);

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let said = format!("{value:?}");
        assert!(!said.contains(super::calls::SECRET), "{field}: {said}");
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "sevenhops.callback" {
            self.0 = Some(value.to_owned());
        }
        self.record_debug(field, &value);
    }
}

impl<S: Subscriber> Layer<S> for Told {
    fn on_event(&self, event: &Event<'_>, _cx: Context<'_, S>) {
        let mut said = Said::default();
        event.record(&mut said);
        if let Some(callback) = said.0 {
            assert_eq!(*event.metadata().level(), Level::ERROR);
            assert_eq!(event.metadata().target(), "sevenhops");
            self.0.lock().unwrap().push(callback);
        }
    }
}
