//! A source that a test controls, on tokio's paused clock.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::error::{DnsErrorReason, LookupFailure};
use super::query::{QueryOutcome, QuerySource};
use super::{Family, Question, Resolver, ResolverBuilder};
use crate::clock;

#[derive(Clone, Debug, Default)]
pub(super) struct Scripted(Arc<Mutex<Script>>);

#[derive(Debug, Default)]
struct Script {
    says: HashMap<Asked, (Duration, Say)>,
    asked: Vec<(Asked, Instant)>,
}

type Asked = (String, Family);

#[derive(Clone, Debug)]
pub(super) enum Say {
    Address(&'static str, u64),
    Nothing(DnsErrorReason, Option<u64>),
    /// This process cannot send the query.
    Lacking,
    Silence,
    Panic,
}

impl Scripted {
    /// Sets a response. Names without one get NXDOMAIN with a TTL of an hour.
    pub(super) fn say(&self, (name, family): (&str, Family), after_millis: u64, say: Say) {
        let after = Duration::from_millis(after_millis);
        let mut script = self.0.lock().unwrap();
        script.says.insert((name.into(), family), (after, say));
    }

    /// Sets an address of IPv4 and none of IPv6, without a delay.
    pub(super) fn four(&self, name: &str, address: &'static str, ttl: u64) {
        self.say((name, Family::V4), 0, Say::Address(address, ttl));
        let none = Say::Nothing(DnsErrorReason::NoRecords, Some(ttl));
        self.say((name, Family::V6), 0, none);
    }

    pub(super) fn asked(&self, family: Family) -> Vec<String> {
        let script = self.0.lock().unwrap();
        let asked = script.asked.iter().filter(|((_, f), _)| *f == family);
        asked.map(|((name, _), _)| name.clone()).collect()
    }

    /// Returns when each query of a family came.
    pub(super) fn asked_at(&self, family: Family) -> Vec<Instant> {
        let script = self.0.lock().unwrap();
        let asked = script.asked.iter().filter(|((_, f), _)| *f == family);
        asked.map(|(_, at)| *at).collect()
    }

    pub(super) fn resolver(&self) -> Resolver {
        let builder = Resolver::builder().hosts_file(false);
        builder.finish(Arc::new(self.clone())).unwrap()
    }

    pub(super) fn resolver_with(
        &self,
        change: impl FnOnce(ResolverBuilder) -> ResolverBuilder,
    ) -> Resolver {
        let builder = Resolver::builder().hosts_file(false);
        change(builder).finish(Arc::new(self.clone())).unwrap()
    }

    pub(super) fn searching(&self, domains: &[&str], ndots: usize) -> Resolver {
        let builder = Resolver::builder().hosts_file(false);
        let builder = builder.search(domains.iter().copied()).ndots(ndots);
        builder.finish(Arc::new(self.clone())).unwrap()
    }
}

impl QuerySource for Scripted {
    fn ask(&self, question: &Question) -> Pin<Box<dyn Future<Output = QueryOutcome> + Send>> {
        let mut script = self.0.lock().unwrap();
        let key = (question.name.to_string(), question.family);
        let missing = (
            Duration::ZERO,
            Say::Nothing(DnsErrorReason::NotFound, Some(60 * 60)),
        );
        let (after, say) = script.says.get(&key).cloned().unwrap_or(missing);
        script.asked.push((key, clock::now()));
        Box::pin(async move {
            tokio::time::sleep(after).await;
            match say {
                Say::Address(address, ttl) => QueryOutcome::Addresses {
                    addresses: vec![address.parse::<IpAddr>().unwrap()],
                    ttl: Duration::from_secs(ttl),
                },
                Say::Nothing(reason, ttl) => QueryOutcome::Nothing {
                    failure: LookupFailure::new(reason),
                    ttl: ttl.map(Duration::from_secs),
                },
                Say::Lacking => {
                    let cause = io::Error::from(io::ErrorKind::AddrNotAvailable);
                    let failure = LookupFailure::because(DnsErrorReason::Unreachable, cause);
                    QueryOutcome::failed(failure)
                }
                Say::Silence => std::future::pending().await,
                Say::Panic => panic!("as scripted"),
            }
        })
    }
}

/// A file for one test.
pub(super) struct File(pub(super) PathBuf);

impl File {
    pub(super) fn new(name: &str, content: &str) -> Self {
        let name = format!("sevenhops-dns-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, content).unwrap();
        Self(path)
    }

    /// Writes a text of another length, because two writes may have the same date.
    pub(super) fn write(&self, content: &str) {
        let before = std::fs::metadata(&self.0).map_or(0, |seen| seen.len());
        assert_ne!(before, content.len() as u64);
        std::fs::write(&self.0, content).unwrap();
    }

    /// Creates a directory in place of a file.
    pub(super) fn unreadable(name: &str) -> Self {
        let file = Self::new(name, "");
        file.remove();
        std::fs::create_dir(&file.0).unwrap();
        file
    }

    /// Replaces that directory by a file with the same date and size, as far as the size allows.
    pub(super) fn make_readable(&self, content: &str) {
        let seen = std::fs::metadata(&self.0).unwrap();
        std::fs::remove_dir(&self.0).unwrap();
        let bytes = usize::try_from(seen.len()).unwrap();
        let padding = "\n".repeat(bytes.saturating_sub(content.len()));
        std::fs::write(&self.0, format!("{content}{padding}")).unwrap();
        let file = std::fs::File::options().write(true).open(&self.0).unwrap();
        file.set_modified(seen.modified().unwrap()).unwrap();
    }

    pub(super) fn remove(&self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0).or_else(|_| std::fs::remove_dir(&self.0));
    }
}

/// Runs `work`, and counts its warnings.
pub(super) fn counting<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let warnings = Arc::new(AtomicUsize::new(0));
    let done = tracing::subscriber::with_default(Warnings(Arc::clone(&warnings)), work);
    (done, warnings.load(Ordering::Relaxed))
}

/// Counts warnings.
struct Warnings(Arc<AtomicUsize>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
