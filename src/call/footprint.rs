//! The memory that a call takes as long as its timeline is kept.

use std::mem::size_of;
use std::sync::Arc;

use super::log::{NestedCalls, Rest};
use super::{Call, CallInner, CallTarget};
use crate::hop::{TimelineEvent, TimelineEventKind};
use crate::record::Tracker;

impl Call {
    /// Returns the memory of the call, its attempts and the calls inside it, in bytes.
    ///
    /// The rounding of the allocator does not count, and neither do values that other calls share.
    pub(crate) fn bytes(&self) -> usize {
        let target = match self.asked() {
            CallTarget::Request { method, uri } => method.as_str().len() + uri_bytes(uri),
            CallTarget::Operation { name, .. } => name.len(),
        };
        let route = self.route().map_or(0, str::len);
        let attempts: usize = self.trackers().iter().map(|tracker| tracker.bytes()).sum();
        let below: usize = self.calls_below().iter().map(Self::bytes).sum();
        COUNTERS + size_of::<CallInner>() + target + route + self.rest_bytes() + attempts + below
    }
}

impl Rest {
    /// Returns the memory of the log without the attempts and calls that it lists.
    pub(super) fn bytes(&self) -> usize {
        let urls = self.notes.iter().map(|note| match &note.kind {
            TimelineEventKind::Redirected { url, .. } | TimelineEventKind::FailedOver { url } => {
                url.capacity()
            }
            _ => 0,
        });
        size_of::<Self>()
            + self.more.capacity() * size_of::<Arc<Tracker>>()
            + self.notes.capacity() * size_of::<TimelineEvent>()
            + self.inner.capacity() * size_of::<Call>()
            + self.inside.capacity() * size_of::<NestedCalls>()
            + self.redirected_to.as_ref().map_or(0, uri_bytes)
            + urls.sum::<usize>()
    }
}

fn uri_bytes(uri: &http::Uri) -> usize {
    let authority = uri
        .authority()
        .map_or(0, |authority| authority.as_str().len());
    let path = uri.path_and_query().map_or(0, |path| path.as_str().len());
    authority + path
}

/// The two counters of an `Arc`.
const COUNTERS: usize = 2 * size_of::<usize>();
