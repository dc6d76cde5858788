//! A timeline of a call, and who is given one at its end.

use std::sync::Arc;

use super::Timeline;
use crate::call::{Call, Observer};

impl Call {
    pub(crate) fn timeline(&self) -> Timeline {
        Timeline(self.clone())
    }
}

/// Tells one more, after the one before.
pub(crate) fn also(
    before: Option<Observer>,
    observe: impl Fn(&Timeline) + Send + Sync + 'static,
) -> Observer {
    match before {
        None => Arc::new(move |call| observe(&call.timeline())),
        Some(before) => Arc::new(move |call| {
            before(call);
            observe(&call.timeline());
        }),
    }
}
