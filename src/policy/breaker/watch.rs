//! Who wants to hear of a destination's state, hears of it.

use std::sync::{Arc, OnceLock};

use tokio::sync::watch;

use super::event::{Change, Event, Observers};
use super::shared::Shared;
use super::state::{Position, State};
use crate::destination::Destination;
use crate::telemetry::Span;

/// Where a circuit's states are published, and its events.
#[derive(Debug)]
pub(super) struct Watch {
    /// Costs a word until a caller listens.
    states: OnceLock<watch::Sender<Position>>,
    /// Whose circuit it is, and who hears of its events.
    about: OnceLock<(Destination, Arc<Observers>)>,
}

impl Watch {
    pub(super) const fn new() -> Self {
        Self {
            states: OnceLock::new(),
            about: OnceLock::new(),
        }
    }

    pub(super) fn about(&self, destination: Destination, observers: Arc<Observers>) {
        let _ = self.about.set((destination, observers));
    }

    /// Reports an event to the span and to the observers.
    pub(super) fn report(&self, change: Change, span: &Span) {
        if let Some((destination, observers)) = self.about.get() {
            observers.tell(&Event::new(destination.clone(), change), span);
        }
    }

    /// Tells those who listen, unless they know of something later already.
    pub(super) fn publish(&self, position: Position) {
        let Some(sender) = self.states.get() else {
            return;
        };
        sender.send_if_modified(|known| {
            let is_news = known.state != position.state;
            let is_later = known.generation < position.generation;
            if is_later {
                *known = position;
            }
            is_later && is_news
        });
    }

    fn subscribe(&self) -> watch::Receiver<Position> {
        let before_all = Position {
            generation: 0,
            state: State::Closed,
            opened: None,
        };
        self.states
            .get_or_init(|| watch::Sender::new(before_all))
            .subscribe()
    }
}

/// Follows the state of one destination; see [`Breaker::watch`](super::Breaker::watch).
///
/// # Cancel safety
///
/// [`changed`](Self::changed) may be dropped at any time: a change that it did not return is returned
/// by the next one.
#[derive(Debug)]
pub struct Watcher {
    receiver: watch::Receiver<Position>,
    /// What is watched is not forgotten.
    _shared: Arc<Shared>,
}

impl Watcher {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        // First listen, then look: what changes in between is heard.
        let mut receiver = shared.watch.subscribe();
        shared.watch.publish(shared.position());
        receiver.mark_unchanged();
        Self {
            receiver,
            _shared: shared,
        }
    }

    /// The state now.
    #[must_use]
    pub fn current(&self) -> State {
        self.receiver.borrow().state
    }

    /// Waits for another state than the one that was seen last. Where several follow each other
    /// faster than they are asked for, the latest counts.
    pub async fn changed(&mut self) -> State {
        if self.receiver.changed().await.is_err() {
            // Not while we hold the circuit: then nothing will ever change.
            std::future::pending::<()>().await;
        }
        self.receiver.borrow_and_update().state
    }
}
