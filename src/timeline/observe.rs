//! A timeline of a call, and who is given one at its end.

use std::sync::Arc;

use super::Timeline;
use crate::call::{Call, Observer};
use crate::callback::{self, Site};

impl Call {
    pub(crate) fn timeline(&self) -> Timeline {
        Timeline(self.clone())
    }
}

/// Tells one more, after the one before.
pub(crate) fn also(
    before: Option<Observer>,
    site: Site,
    observe: impl Fn(&Timeline) + Send + Sync + 'static,
) -> Observer {
    let observe = move |call: &Call| callback::observe(&site, || observe(&call.timeline()));
    match before {
        None => Arc::new(observe),
        Some(before) => Arc::new(move |call| {
            before(call);
            observe(call);
        }),
    }
}
