//! Records the timelines of all calls, for checks at the end of a test.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

use crate::timeline::Timeline;

/// Keeps the timelines of finished calls.
///
/// If the test that owns it panics, the recorder prints their waterfalls, so the output shows what happened beside what
/// was expected.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::StandardLayer;
/// use sevenhops::testing::TimelineRecorder;
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let recorder = TimelineRecorder::new();
/// let service = StandardLayer::new(Duration::from_secs(10))?
///     .on_complete(recorder.listener()) // or Client::builder(..).on_complete(..)
///     .layer(service_fn(async |_request: http::Request<String>| {
///         Ok::<_, std::io::Error>(http::Response::new(String::from("hello")))
///     }));
/// tokio::spawn(service.oneshot(http::Request::new(String::new()))); // deep inside what is tested
///
/// let timelines = recorder.wait_for(1).await;
/// assert_eq!(timelines[0].attempt_count(), 1);
/// println!("{recorder}"); // the waterfalls
/// # Ok(()) }
/// ```
///
/// # How people get it wrong
///
/// A call ends with the last byte of its body, or when its body is dropped. So a call whose response is still held has
/// not ended.
#[derive(Debug, Default)]
pub struct TimelineRecorder {
    ended: Arc<watch::Sender<Vec<Timeline>>>,
}

impl TimelineRecorder {
    /// Creates an empty recorder.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the callback for `on_complete` of a client or a layer. Several may share it, if their calls belong
    /// together.
    pub fn listener(&self) -> impl Fn(&Timeline) + Send + Sync + use<> + 'static {
        let ended = Arc::clone(&self.ended);
        move |timeline| ended.send_modify(|timelines| timelines.push(timeline.clone()))
    }

    /// Returns the finished calls, in the order in which they ended.
    #[must_use]
    pub fn timelines(&self) -> Vec<Timeline> {
        self.ended.borrow().clone()
    }

    /// Waits until this many calls have finished, and returns all that have. There is no timeout: if too few calls
    /// finish, it waits forever.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn wait_for(&self, calls: usize) -> Vec<Timeline> {
        let mut ended = self.ended.subscribe();
        // The sender lives in `self`, so the channel cannot close meanwhile.
        let _ = ended.wait_for(|timelines| timelines.len() >= calls).await;
        self.timelines()
    }
}

impl fmt::Display for TimelineRecorder {
    /// Prints the waterfalls, in the order in which the calls ended.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut timelines = self.timelines().into_iter();
        timelines.try_for_each(|timeline| writeln!(f, "{timeline}"))
    }
}

impl Drop for TimelineRecorder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("calls over by then: {}\n{self}", self.timelines().len());
        }
    }
}
