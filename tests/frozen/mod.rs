//! A clock that tests move by hand, while bytes go through real sockets.

use tokio::sync::oneshot;

/// Keeps tokio's clock from running by itself while it is paused.
///
/// A paused clock jumps whenever nothing can run, also while bytes are on their way through the kernel. It does not
/// jump while a blocking task runs.
pub(crate) struct Frozen(Option<oneshot::Sender<()>>);

impl Frozen {
    pub(crate) fn now() -> Self {
        let (thaw, thawed) = oneshot::channel();
        tokio::task::spawn_blocking(move || thawed.blocking_recv());
        tokio::time::pause();
        Self(Some(thaw))
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Some(thaw) = self.0.take() {
            let _ = thaw.send(());
        }
    }
}
