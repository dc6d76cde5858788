use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;

/// Marks a stale response, in its extensions: its age, and the failure that it stands in for.
///
/// # Example
///
/// ```
/// use sevenhops::policy::stale::Staleness;
///
/// fn note<B>(response: &http::Response<B>) -> Option<String> {
///     let stale = response.extensions().get::<Staleness>()?;
///     Some(format!("as of {} s ago", stale.age().as_secs()))
/// }
/// # drop(note::<()>);
/// ```
#[derive(Clone)]
pub struct Staleness {
    age: Duration,
    error: Option<Arc<Error>>,
}

impl Staleness {
    pub(crate) const fn new(age: Duration, error: Option<Arc<Error>>) -> Self {
        Self { age, error }
    }

    /// Returns the age of the response: the time since its request was sent, and its age in caches before that.
    #[must_use]
    pub const fn age(&self) -> Duration {
        self.age
    }

    /// Returns the failure of the call. `None` if the server was not asked: the response was served at once, and is
    /// being refreshed.
    #[must_use]
    pub fn error(&self) -> Option<&Error> {
        self.error.as_deref()
    }
}

impl fmt::Debug for Staleness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Staleness")
            .field("age", &self.age)
            .field("error", &self.error)
            .finish()
    }
}
