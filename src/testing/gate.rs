//! A gate that a test opens.

use std::sync::Arc;

use tokio::sync::watch;

/// Holds answers back until the test says so.
///
/// Clones are the same gate. Once open it stays open.
///
/// # Example
///
/// ```
/// use sevenhops::testing::{CannedResponse, Gate, Reply};
///
/// let gate = Gate::new();
/// let reply = Reply::Response(CannedResponse::default().hold_body(&gate));
/// // queue it, call, look at what is in flight; then
/// gate.open();
/// # drop(reply);
/// ```
#[derive(Clone, Debug)]
pub struct Gate {
    open: Arc<watch::Sender<bool>>,
}

impl Gate {
    /// Makes a shut gate.
    #[must_use]
    pub fn new() -> Self {
        Self {
            open: Arc::new(watch::Sender::new(false)),
        }
    }

    /// Lets everything through that waits or will come.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// Waits until the gate is open.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn opened(&self) {
        // The sender lives in `self`: the channel cannot close before it opens.
        let _ = self.open.subscribe().wait_for(|open| *open).await;
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}
