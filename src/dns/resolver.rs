//! The usual resolver: hosts file, search list, cache, hickory.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};
use url::Host;

use super::address_set::AddressSet;
use super::dual_stack::{DualStack, LookupTerms, has_found};
use super::error::{DnsError, DnsErrorReason, LookupFailure};
use super::hosts::Hosts;
#[cfg(test)]
use super::malformed::Malformed;
use super::merge::NoAnswer;
use super::nsswitch::HostsOrder;
use super::search::{Search, ends_in_number};
use super::servers::first;
use super::singleflight::{PoolAnswer, QueryPool, RefreshReason};
use super::watch::{FileWatch, News};
use super::{Answer, AnswerOrigin, NameHold, Refresh, Resolution, Resolve, UNCHANGING};
use crate::clock;

/// Resolves names by DNS, and caches the results for their TTL. Clones share one cache.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::dns::Resolver;
///
/// let resolver = Resolver::builder()
///     .name_servers(["127.0.0.1:53".parse()?])
///     .timeout(Duration::from_secs(1))
///     .build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Cancel safety
///
/// Dropping a lookup is safe. Its query continues, at most for the timeout, and the result is cached.
#[derive(Clone, Debug)]
pub struct Resolver(Arc<ResolverInner>);

#[derive(Debug)]
pub(crate) struct ResolverInner {
    pub(crate) config: ArcSwap<ResolverConfig>,
    pub(crate) pool: Arc<QueryPool>,
    pub(crate) watch: FileWatch,
    pub(crate) limit: Duration,
}

/// The content of the files, besides the name servers.
#[derive(Debug)]
pub(crate) struct ResolverConfig {
    pub(crate) hosts: Arc<Hosts>,
    pub(crate) order: HostsOrder,
    pub(crate) search: Search,
}

#[cfg(test)]
impl Resolver {
    /// Sets a system's hosts file, and its line of nsswitch.conf.
    pub(crate) fn set_hosts(&self, hosts: &str, nsswitch: &str) {
        let before = self.0.config.load();
        self.0.config.store(Arc::new(ResolverConfig {
            hosts: Arc::new(Hosts::parse(hosts, &mut Malformed::default())),
            order: HostsOrder::parse(nsswitch, &mut Malformed::default()),
            search: before.search.clone(),
        }));
    }
}

impl ResolverConfig {
    /// Returns the addresses of a host that is resolved before DNS.
    fn before_dns(&self, host: &str) -> Option<&AddressSet> {
        match self.order {
            HostsOrder::First => self.hosts.find(host),
            HostsOrder::Last | HostsOrder::Never => self.hosts.localhost(host),
        }
    }

    /// Returns the addresses of a host that is resolved after DNS.
    fn after_dns(&self, host: &str) -> Option<&AddressSet> {
        match self.order {
            HostsOrder::Last => self.hosts.find(host),
            HostsOrder::First | HostsOrder::Never => None,
        }
    }
}

impl Resolver {
    pub(crate) fn from_inner(inner: ResolverInner) -> Self {
        Self(Arc::new(inner))
    }
}

impl Resolve for Resolver {
    fn resolve(&self, host: &str) -> Resolution {
        self.resolve_within(host, self.0.limit)
    }

    fn resolve_within(&self, host: &str, limit: Duration) -> Resolution {
        let (now, inner) = (clock::now(), &self.0);
        let mut config = inner.config.load();
        let mut written = config.before_dns(host);
        let mut is_changed = false;
        if written.is_none()
            && let Some(name) = config.search.as_is_first(host)
            && let Some(hit) = inner.pool.answer(name, now)
        {
            // A name in steady use is always a hit, so its refresh looks at the files.
            is_changed = hit.due && inner.reread(now);
            if !is_changed {
                if hit.due {
                    inner.ask_again(name, (RefreshReason::Due, now));
                }
                return Resolution::Cached(Ok(hit.answer));
            }
        }
        // Cached names stay cached. The files may contain other names by now.
        if is_changed || inner.reread(now) {
            config = inner.config.load();
            written = config.before_dns(host);
        }
        if let Some(listed) = written {
            return Resolution::Cached(Ok(Answer::remembered(listed.clone(), UNCHANGING)));
        }
        if let Some(address) = literal(host) {
            let listed = AddressSet::new([address]);
            return Resolution::Cached(Ok(Answer::remembered(listed, UNCHANGING)));
        }
        let names = config.search.names(host);
        let limit = limit.min(inner.limit);
        inner.lookup(Walk::new((host, names), now, limit), now)
    }

    fn report_unreachable(&self, host: &str) -> Option<Refresh> {
        let (now, config) = (clock::now(), self.0.config.load());
        if config.before_dns(host).is_some() {
            return None;
        }
        let name = self.0.known_name(&config, (host, now))?;
        self.0.ask_again(&name, (RefreshReason::Doubted, now));
        let results = self.0.pool.pending(&name, now);
        if results.is_empty() {
            return None;
        }
        Some(Box::pin(async move {
            let waits = results
                .into_iter()
                .map(|result| Box::pin(has_found(result)));
            let mut waits: Vec<_> = waits.enumerate().collect();
            // The other family may be silent, and the caller has no time for that.
            while !waits.is_empty() && !first(&mut waits).await.1 {}
        }))
    }

    fn hold(&self, host: &str) -> Option<NameHold> {
        let (now, config) = (clock::now(), self.0.config.load());
        let name = self.0.known_name(&config, (host, now))?;
        self.0.pool.hold(&name)
    }
}

impl ResolverInner {
    fn lookup(self: &Arc<Self>, mut walk: Walk, now: Instant) -> Resolution {
        let Ok(runtime) = Handle::try_current() else {
            let failure = LookupFailure::because(DnsErrorReason::Unreachable, NoRuntime);
            return Resolution::Cached(Err(walk.error(failure)));
        };
        let pair = match walk.on(&self.pool, &runtime, now) {
            SearchStep::Done(answer) => {
                return Resolution::Cached(self.or_hosts(&walk.host, answer));
            }
            SearchStep::Wait(pair) => pair,
        };
        let inner = Arc::clone(self);
        Resolution::Pending(Box::pin(async move {
            let host = walk.host.clone();
            let until = now + inner.limit;
            let answer = timeout_at(until, walk.wait(pair, &inner.pool, &runtime))
                .await
                .unwrap_or_else(|elapsed| {
                    let failure = LookupFailure::because(DnsErrorReason::Timeout, elapsed);
                    Err(DnsError::from_failure(&host, failure))
                });
            inner.or_hosts(&host, answer)
        }))
    }

    /// Reads a hosts file that comes after DNS, if DNS did not resolve the name.
    fn or_hosts(&self, host: &str, answer: Result<Answer, DnsError>) -> Result<Answer, DnsError> {
        let config = self.config.load();
        match (answer, config.after_dns(host)) {
            (Err(_), Some(listed)) => Ok(Answer::remembered(listed.clone(), UNCHANGING)),
            (answer, _) => answer,
        }
    }

    /// Returns the name that a host stands for: the first one with addresses. A query for the other family may still be
    /// in progress.
    fn known_name(
        &self,
        config: &ResolverConfig,
        (host, now): (&str, Instant),
    ) -> Option<Box<str>> {
        let mut names = config.search.names(host).into_iter();
        names.find(|name| self.pool.has_addresses(name, now))
    }

    /// Queries in the background. Without a runtime no query is sent, and the result stays valid until its end.
    fn ask_again(&self, name: &str, (why, now): (RefreshReason, Instant)) {
        if let Ok(runtime) = Handle::try_current() {
            self.pool.refresh(name, (why, now), &runtime);
        }
    }

    /// Reads the files that have changed, if it is time to look. Returns whether anything changed.
    fn reread(&self, now: Instant) -> bool {
        let Some(News {
            hosts,
            order,
            search,
            source,
        }) = self.watch.look(now)
        else {
            return false;
        };
        let before = self.config.load();
        self.config.store(Arc::new(ResolverConfig {
            hosts: hosts.unwrap_or_else(|| Arc::clone(&before.hosts)),
            order: order.unwrap_or(before.order),
            search: search.unwrap_or_else(|| before.search.clone()),
        }));
        if let Some(source) = source {
            self.pool.use_source(source, now);
        }
        true
    }
}

/// One lookup: it tries the names that its host may mean, in order.
#[derive(Debug)]
struct Walk {
    names: VecDeque<Box<str>>,
    /// The current name.
    name: Box<str>,
    host: Box<str>,
    begun: Instant,
    limit: Duration,
    /// The failure of the names that were tried: they have no address, now or at the last successful query.
    found: Option<LookupFailure>,
    /// Whether it skipped a name because of an old result.
    stale: bool,
}

#[derive(Debug)]
enum SearchStep {
    Done(Result<Answer, DnsError>),
    Wait(Box<DualStack>),
}

impl Walk {
    fn new((host, names): (&str, VecDeque<Box<str>>), begun: Instant, limit: Duration) -> Self {
        Self {
            names,
            name: Box::default(),
            host: host.into(),
            begun,
            limit,
            found: None,
            stale: false,
        }
    }

    /// Continues to the first name that needs a wait, or to the end.
    fn on(&mut self, pool: &Arc<QueryPool>, runtime: &Handle, now: Instant) -> SearchStep {
        while let Some(name) = self.names.pop_front() {
            self.name = name;
            let terms = LookupTerms {
                begun: self.begun,
                limit: self.limit,
                last: self.names.is_empty(),
            };
            let answer = match pool.lookup(&self.name, (now, terms), runtime) {
                PoolAnswer::Known(answer) => answer,
                PoolAnswer::Wait(pair) => return SearchStep::Wait(pair),
            };
            if let Some(end) = self.end(answer) {
                return SearchStep::Done(end);
            }
        }
        let found = self.found.take();
        let failure = found.unwrap_or_else(|| LookupFailure::new(DnsErrorReason::NotFound));
        SearchStep::Done(Err(self.error(failure)))
    }

    async fn wait(
        mut self,
        mut pair: Box<DualStack>,
        pool: &Arc<QueryPool>,
        runtime: &Handle,
    ) -> Result<Answer, DnsError> {
        loop {
            let composed = pair.wait().await;
            let asked = (clock::now(), AnswerOrigin::Asked);
            let answer = composed.map(|composed| Answer::composed(&composed, asked));
            if let Some(end) = self.end(answer) {
                return end;
            }
            pair = match self.on(pool, runtime, clock::now()) {
                SearchStep::Done(answer) => return answer,
                SearchStep::Wait(pair) => pair,
            };
        }
    }

    /// Returns the result of the lookup, if it ends with this name. Only a denial leads to the next name: continuing
    /// after a silent server could resolve to another host. An old denial counts where old addresses would, and makes
    /// the `Answer` stale.
    fn end(&mut self, answer: Result<Answer, NoAnswer>) -> Option<Result<Answer, DnsError>> {
        match answer {
            Ok(answer) if self.stale => Some(Ok(answer.into_stale())),
            Ok(answer) => Some(Ok(answer)),
            Err(nothing) if nothing.failure.reason.is_negative() || nothing.was_absent => {
                self.stale |= !nothing.failure.reason.is_negative();
                self.found = Some(match self.found.take() {
                    None => nothing.failure,
                    Some(found) => found.worst(nothing.failure),
                });
                None
            }
            Err(nothing) => Some(Err(self.error(nothing.failure))),
        }
    }

    fn error(&self, failure: LookupFailure) -> DnsError {
        DnsError::from_failure(&self.host, failure)
    }
}

/// Returns the address if the name is an address: it must not be looked up.
fn literal(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    if let Ok(address) = bare.unwrap_or(host).parse() {
        return Some(address);
    }
    // An address in any spelling of the URL standard: as a name, `0x7f.1` would be looked up in the search domains.
    match Host::parse(host) {
        Ok(Host::Ipv4(address)) if ends_in_number(host) => Some(address.into()),
        _ => None,
    }
}

/// A lookup was started outside of a tokio runtime.
#[derive(Debug)]
struct NoRuntime;

impl std::fmt::Display for NoRuntime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a DNS lookup needs a tokio runtime")
    }
}

impl std::error::Error for NoRuntime {}

#[cfg(test)]
mod messages {
    crate::messages_tests::list!(NoRuntime: super::NoRuntime);
}

#[cfg(test)]
#[path = "resolver_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "early_tests.rs"]
mod early_tests;

#[cfg(test)]
#[path = "stale_tests.rs"]
mod stale_tests;

#[cfg(test)]
#[path = "denied_tests.rs"]
mod denied_tests;

#[cfg(test)]
#[path = "crowd_tests.rs"]
mod crowd_tests;
