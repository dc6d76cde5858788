//! The timelines of all calls, for a test that looks at them afterwards.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

use crate::timeline::Timeline;

/// Keeps the timelines of calls that are over.
///
/// If the test that owns it panics, it prints their waterfalls: what was expected and did not come is
/// then seen beside what came.
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
/// A call ends with the last byte of its body, or when its body is dropped: one whose response is still
/// held has not ended.
#[derive(Debug, Default)]
pub struct TimelineRecorder {
    ended: Arc<watch::Sender<Vec<Timeline>>>,
}

impl TimelineRecorder {
    /// A recorder without reports.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The callback for `on_complete` of a client or a layer. Several may share it, if their calls belong together.
    pub fn listener(&self) -> impl Fn(&Timeline) + Send + Sync + use<> + 'static {
        let ended = Arc::clone(&self.ended);
        move |timeline| ended.send_modify(|timelines| timelines.push(timeline.clone()))
    }

    /// The calls that are over, in the order in which they ended.
    #[must_use]
    pub fn timelines(&self) -> Vec<Timeline> {
        self.ended.borrow().clone()
    }

    /// Waits until so many calls are over, and returns all that are. There is no limit: what never ends
    /// is waited for for ever.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn wait_for(&self, calls: usize) -> Vec<Timeline> {
        let mut ended = self.ended.subscribe();
        // The sender lives in `self`: the channel cannot close meanwhile.
        let _ = ended.wait_for(|timelines| timelines.len() >= calls).await;
        self.timelines()
    }
}

impl fmt::Display for TimelineRecorder {
    /// The waterfalls, in the order in which the calls ended.
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
