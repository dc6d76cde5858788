//! A gate that a test opens.

use std::sync::Arc;

use tokio::sync::watch;

/// Holds responses back until the test opens it.
///
/// Clones are the same gate. Once open, it stays open.
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
    /// Creates a closed gate.
    #[must_use]
    pub fn new() -> Self {
        Self {
            open: Arc::new(watch::Sender::new(false)),
        }
    }

    /// Lets all present and future waiters through.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// Waits until the gate is open.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn opened(&self) {
        // The sender lives in `self`, so the channel cannot close before the gate opens.
        let _ = self.open.subscribe().wait_for(|open| *open).await;
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}
