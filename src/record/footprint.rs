//! The memory that the record of an attempt takes.

use std::mem::size_of;

use super::facts::Facts;
use super::tracker::Tracker;
use super::{StageRecord, Store};
use crate::affinity::Session;
use crate::hop::{ProxyStatus, ServerReport, ServerTiming};

impl Tracker {
    /// Returns the memory of the record, in bytes. The calls inside the attempt do not count.
    pub(crate) fn bytes(&self) -> usize {
        COUNTERS + size_of::<Self>() + self.memory()
    }
}

impl Store {
    /// Returns the memory that the store takes besides its own size.
    pub(super) fn bytes(&self) -> usize {
        let more = self.stages.iter().count().saturating_sub(STAGES_INLINE);
        more * size_of::<StageRecord>() + self.facts.bytes()
    }
}

impl Facts {
    fn bytes(&self) -> usize {
        let texts = [&self.via, &self.url];
        let texts: usize = texts.into_iter().flatten().map(String::capacity).sum();
        let session = self.session.as_ref().map_or(0, |_| size_of::<Session>());
        let report = self.said.as_deref().map_or(0, report_bytes);
        #[cfg(feature = "har")]
        let kept = self.kept.as_deref().map_or(0, super::KeptHeaders::bytes);
        #[cfg(not(feature = "har"))]
        let kept = 0;
        texts + session + report + kept
    }
}

#[cfg(feature = "har")]
impl super::KeptHeaders {
    fn bytes(&self) -> usize {
        let header = |(name, value): &(String, String)| name.capacity() + value.capacity();
        let lists = [&self.request, &self.response];
        let lists = lists.map(|list| {
            list.capacity() * size_of::<(String, String)>() + list.iter().map(header).sum::<usize>()
        });
        size_of::<Self>() + lists.iter().sum::<usize>()
    }
}

fn report_bytes(report: &ServerReport) -> usize {
    let timings = report.timings.iter().map(|timing| timing.name.capacity());
    let proxies = report.proxies.iter();
    let proxies = proxies
        .map(|proxy| proxy.name.capacity() + proxy.error.as_ref().map_or(0, String::capacity));
    let via = report.via.iter().map(String::capacity);
    size_of::<ServerReport>()
        + report.timings.capacity() * size_of::<ServerTiming>()
        + report.proxies.capacity() * size_of::<ProxyStatus>()
        + report.via.capacity() * size_of::<String>()
        + timings.chain(proxies).chain(via).sum::<usize>()
}

/// The two counters of an `Arc`.
const COUNTERS: usize = 2 * size_of::<usize>();
/// The stages that need no memory of their own.
const STAGES_INLINE: usize = crate::hop::Stage::ALL.len();
