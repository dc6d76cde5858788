//! Who wants to hear of a destination's state, hears of it.

use std::sync::{Arc, OnceLock};

use tokio::sync::watch;

use super::shared::Shared;
use super::state::{Position, State};

/// Where a circuit's states are published. Costs a word until somebody listens.
#[derive(Debug)]
pub(super) struct Watch(OnceLock<watch::Sender<Position>>);

impl Watch {
    pub(super) const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// Tells those who listen, unless they know of something later already.
    pub(super) fn publish(&self, position: Position) {
        let Some(sender) = self.0.get() else { return };
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
        };
        self.0
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
