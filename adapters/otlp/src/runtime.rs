//! The runtime of the exports.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::{JoinError, JoinHandle};
use tracing::subscriber::{DefaultGuard, NoSubscriber};

/// A runtime with one thread.
#[derive(Debug)]
pub(crate) struct OwnRuntime {
    handle: Handle,
    /// `None` once it is dropped.
    runtime: Option<Runtime>,
}

impl OwnRuntime {
    pub(crate) fn start() -> io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1).thread_name("sevenhops-otlp");
        // An export must not create spans: they would be exported, and so on. The tasks of connections have some, too.
        builder.on_thread_start(|| {
            let guard = tracing::subscriber::set_default(NoSubscriber::default());
            SILENT.with(|silent| silent.replace(Some(guard)));
        });
        let runtime = builder.enable_all().build()?;
        Ok(Self {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })
    }

    /// Runs a future on the runtime. Dropping the result ends it.
    pub(crate) fn run<F>(&self, future: F) -> Running<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        Running(self.handle.spawn(future))
    }
}

impl Drop for OwnRuntime {
    /// Does not wait: the last clone may be dropped inside another runtime.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

thread_local! {
    /// Keeps the events and spans of a thread of the runtime from all subscribers, as long as the thread runs.
    static SILENT: RefCell<Option<DefaultGuard>> = const { RefCell::new(None) };
}

/// A future on the runtime.
pub(crate) struct Running<T>(JoinHandle<T>);

impl<T> Future for Running<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
