use std::sync::Arc;

use crate::error::Error;

/// Marks the response of a fallback, in its extensions: the failure that it stands in for.
///
/// # Example
///
/// ```
/// use sevenhops::policy::fallback::Replacement;
///
/// fn reason<B>(response: &http::Response<B>) -> Option<String> {
///     let replacement = response.extensions().get::<Replacement>()?;
///     Some(replacement.error().to_string())
/// }
/// # drop(reason::<()>);
/// ```
#[derive(Clone, Debug)]
pub struct Replacement(Arc<Error>);

impl Replacement {
    pub(crate) fn new(error: Error) -> Self {
        Self(Arc::new(error))
    }

    /// Returns the failure of the call. Its effect is that of the failed attempts.
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.0
    }
}
