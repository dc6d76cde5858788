//! The walk over the name servers.
//!
//! The servers are queried in their order. If one fails, the next one is queried immediately. If one is silent, the
//! next one is queried in addition after a moment, and the silent one goes last for a while. The first usable response
//! ends the walk. The walk fails if all servers failed.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use hickory_resolver::proto::op::{DnsRequest, DnsRequestOptions, Message, Query, ResponseCode};
use hickory_resolver::proto::rr::Name;
use tokio::time::{Instant, sleep_until};

#[cfg(feature = "encrypted-dns")]
use super::encrypted::{Channel, Encrypted, trust};
use super::error::{DnsErrorReason, LookupFailure};
use super::exchange::{over_tcp, over_udp};
use super::query::{QueryOutcome, QuerySource};
use super::response::{Chain, Reading};
use super::{Family, Question};
use crate::clock;
use crate::config_error::ConfigError;

/// A name server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    /// Over UDP, and over TCP if the response is truncated.
    Plain(SocketAddr),
    /// Over TCP only (`options use-vc`).
    Tcp(SocketAddr),
    #[cfg(feature = "encrypted-dns")]
    Encrypted(Encrypted),
}

/// How servers are queried.
#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    pub(crate) limit: Duration,
    /// Root certificates for encrypted servers, instead of the system's.
    #[cfg(feature = "encrypted-dns")]
    pub(crate) tls: Option<rustls::ClientConfig>,
}

impl Upstream {
    pub(crate) fn new(limit: Duration) -> Self {
        Self {
            limit,
            #[cfg(feature = "encrypted-dns")]
            tls: None,
        }
    }

    pub(crate) fn source(&self, servers: &[Server]) -> Result<Arc<dyn QuerySource>, ConfigError> {
        #[cfg(feature = "encrypted-dns")]
        let this = &self.trusting(servers)?;
        #[cfg(not(feature = "encrypted-dns"))]
        let this = self;
        let opened = servers.iter().map(|server| this.open(server));
        let list: Box<[_]> = opened.collect::<Result<_, _>>()?;
        Ok(Arc::new(Servers(Arc::new(ServersInner {
            silent: Mutex::new(vec![None; list.len()].into()),
            patience: patience(self.limit, list.len()),
            list,
        }))))
    }

    /// Returns the same with the root certificates that these servers need. The system's are read once.
    #[cfg(feature = "encrypted-dns")]
    fn trusting(&self, servers: &[Server]) -> Result<Self, ConfigError> {
        let mut trusting = self.clone();
        if servers.iter().any(|s| matches!(s, Server::Encrypted(_))) {
            trusting.tls = Some(trust(self.tls.as_ref())?);
        }
        Ok(trusting)
    }

    #[cfg_attr(not(feature = "encrypted-dns"), expect(clippy::unnecessary_wraps))]
    fn open(&self, server: &Server) -> Result<ServerTransport, ConfigError> {
        Ok(match server {
            Server::Plain(addr) => ServerTransport::Udp(*addr),
            Server::Tcp(addr) => ServerTransport::Tcp(*addr),
            #[cfg(feature = "encrypted-dns")]
            Server::Encrypted(server) => {
                ServerTransport::Encrypted(Box::new(Channel::new(server, self)?))
            }
        })
    }
}

/// The name servers of a resolver.
#[derive(Debug)]
struct Servers(Arc<ServersInner>);

#[derive(Debug)]
struct ServersInner {
    list: Box<[ServerTransport]>,
    /// Until when each server goes last, because it was silent or could not be reached.
    silent: Mutex<Box<[Option<Instant>]>>,
    /// How long a server may be silent before the next one is queried in addition.
    patience: Duration,
}

/// The transport to one server.
#[derive(Debug)]
enum ServerTransport {
    Udp(SocketAddr),
    Tcp(SocketAddr),
    #[cfg(feature = "encrypted-dns")]
    Encrypted(Box<Channel>),
}

impl QuerySource for Servers {
    fn ask(&self, question: &Question) -> Pin<Box<dyn Future<Output = QueryOutcome> + Send>> {
        // Made from labels, because a backslash in a text would be an escape.
        let mut name = match Name::from_labels(question.name.split('.').map(str::as_bytes)) {
            Ok(name) => name,
            Err(error) => {
                let failure = LookupFailure::because(DnsErrorReason::NotFound, error);
                return Box::pin(std::future::ready(QueryOutcome::failed(failure)));
            }
        };
        name.set_fqdn(true);
        let (inner, family) = (Arc::clone(&self.0), question.family);
        Box::pin(async move { inner.walk(name, family).await })
    }
}

type ServerQuery<'s> =
    Pin<Box<dyn Future<Output = Result<QueryOutcome, LookupFailure>> + Send + 's>>;

impl ServersInner {
    async fn walk(&self, name: Name, family: Family) -> QueryOutcome {
        let mut rest = order(&self.silent(), clock::now());
        let mut asked: Vec<(usize, ServerQuery<'_>)> = Vec::new();
        let mut failure: Option<LookupFailure> = None;
        loop {
            if let Some(index) = rest.pop_front() {
                let chain = Chain::new(name.clone(), family);
                asked.push((index, Box::pin(self.list[index].ask(chain))));
            } else if asked.is_empty() {
                let failure =
                    failure.unwrap_or_else(|| LookupFailure::new(DnsErrorReason::Unreachable));
                return QueryOutcome::failed(failure);
            }
            let next = clock::now() + self.patience;
            tokio::select! {
                biased;
                (index, said) = first(&mut asked) => match said {
                    Ok(outcome) => return outcome,
                    Err(failed) => {
                        if is_silence(&failed) {
                            self.put_last([index]);
                        }
                        failure = Some(mildest(failure.take(), failed));
                    }
                },
                () = sleep_until(next), if !rest.is_empty() => {
                    self.put_last(asked.iter().map(|(index, _)| *index));
                }
            }
        }
    }

    fn put_last(&self, servers: impl IntoIterator<Item = usize>) {
        let until = clock::now() + SILENT;
        let mut silent = self.silent();
        for server in servers {
            silent[server] = Some(until);
        }
    }

    fn silent(&self) -> MutexGuard<'_, Box<[Option<Instant>]>> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServerTransport {
    /// Asks this server, until it returns a usable response or fails.
    async fn ask(&self, mut chain: Chain) -> Result<QueryOutcome, LookupFailure> {
        let mut edns = true;
        loop {
            let response = self.send(chain.query(), edns).await?;
            if edns && refuses_edns(response.metadata.response_code) {
                edns = false;
                continue;
            }
            match chain.read(&response) {
                Reading::Outcome(outcome) => return Ok(outcome),
                Reading::Failed(failure) => return Err(failure),
                Reading::Alias => {}
            }
        }
    }

    async fn send(&self, query: Query, edns: bool) -> Result<Message, LookupFailure> {
        let mut options = DnsRequestOptions::default();
        options.use_edns = edns;
        let request = DnsRequest::from_query(query, options);
        match self {
            Self::Udp(server) => over_udp(*server, &request).await,
            Self::Tcp(server) => over_tcp(*server, &request).await,
            #[cfg(feature = "encrypted-dns")]
            Self::Encrypted(channel) => channel.send(request).await,
        }
    }
}

/// Returns whether a server with this response may understand the query without EDNS (RFC 6891 §7).
fn refuses_edns(code: ResponseCode) -> bool {
    matches!(code, ResponseCode::FormErr | ResponseCode::NotImp)
}

/// Returns the order in which to ask the servers. Those that were silent go last. If all were silent, they keep their
/// order.
fn order(silent: &[Option<Instant>], now: Instant) -> VecDeque<usize> {
    let is_silent = |server: &usize| silent[*server].is_some_and(|until| now < until);
    let mut order: Vec<_> = (0..silent.len()).collect();
    order.sort_by_key(is_silent);
    order.into()
}

/// Returns whether a server was silent or could not be reached. A failure of this process says nothing about it.
fn is_silence(failure: &LookupFailure) -> bool {
    use DnsErrorReason::{Timeout, Unreachable};
    matches!(failure.reason, Unreachable | Timeout) && !failure.is_local()
}

/// Returns the failure, of several servers, that is closest to a response. A failure of this process does not hide that
/// of a server. An example is an IPv6 server on a host without IPv6.
fn mildest(before: Option<LookupFailure>, failure: LookupFailure) -> LookupFailure {
    let distance = |failure: &LookupFailure| (failure.is_local(), failure.reason);
    match before {
        Some(before) if distance(&before) <= distance(&failure) => before,
        _ => failure,
    }
}

/// Returns the wait that leaves at least half of the timeout for the last server.
fn patience(limit: Duration, servers: usize) -> Duration {
    let servers = u32::try_from(servers.max(1)).unwrap_or(u32::MAX);
    (limit / 2 / servers).min(PATIENCE)
}

/// Waits for the first of several futures, and removes it.
pub(super) async fn first<T, F: Future<Output = T> + Unpin>(
    all: &mut Vec<(usize, F)>,
) -> (usize, T) {
    let (place, output) = poll_fn(|cx| {
        for (place, (_, future)) in all.iter_mut().enumerate() {
            if let Poll::Ready(output) = Pin::new(future).poll(cx) {
                return Poll::Ready((place, output));
            }
        }
        Poll::Pending
    })
    .await;
    (all.remove(place).0, output)
}

/// A healthy server responds within this time, unless it must query a distant server.
const PATIENCE: Duration = Duration::from_millis(300);
/// How long a silent server goes last.
const SILENT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silent_servers_go_last_until_their_time_is_over() {
        let now = clock::now();
        let until = |secs| Some(now + Duration::from_secs(secs));
        for (silent, expected) in [
            ([None, None, None], [0, 1, 2]),
            ([until(1), None, None], [1, 2, 0]),
            ([until(1), None, until(2)], [1, 0, 2]),
            ([until(0), until(1), None], [0, 2, 1]),
            ([until(1), until(1), until(1)], [0, 1, 2]),
        ] {
            assert_eq!(order(&silent, now), expected, "{silent:?}");
        }
    }

    #[test]
    fn half_of_the_timeout_is_left_for_the_last_server() {
        let limit = Duration::from_secs(1);
        for (servers, millis) in [(1, 300), (2, 250), (5, 100)] {
            let expected = Duration::from_millis(millis);
            assert_eq!(patience(limit, servers), expected);
        }
        assert_eq!(patience(limit * 60, 3), PATIENCE);
    }

    #[test]
    fn failure_closest_to_a_response_is_reported() {
        let reasons = [
            DnsErrorReason::Timeout,
            DnsErrorReason::ServerFailure,
            DnsErrorReason::Unreachable,
        ];
        let failures = reasons.map(LookupFailure::new);
        let mildest = failures.into_iter().fold(None, |before, failure| {
            let mildest = mildest(before, failure);
            Some(mildest)
        });
        assert_eq!(mildest.unwrap().reason, DnsErrorReason::ServerFailure);
    }

    /// To connect to a link-local address without a scope fails in this process. Nothing listens at the other address.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn failure_of_this_process_is_not_that_of_its_server() {
        let list: Vec<SocketAddr> = ["[fe80::1]:53", "127.0.0.1:1"]
            .map(|server| server.parse().unwrap())
            .into();
        let servers = ServersInner {
            list: list.into_iter().map(ServerTransport::Udp).collect(),
            silent: Mutex::new([None, None].into()),
            patience: PATIENCE,
        };
        let name = Name::from_ascii("a.test.").unwrap();
        let outcome = servers.walk(name, Family::V4).await;
        let QueryOutcome::Nothing { failure, .. } = outcome else {
            panic!("{outcome:?}");
        };
        let cause = failure.cause.unwrap();
        let cause: &std::io::Error = cause.downcast_ref().unwrap();
        assert_eq!(cause.kind(), std::io::ErrorKind::ConnectionRefused);
        let silent = servers.silent();
        assert!(silent[0].is_none() && silent[1].is_some(), "{silent:?}");
    }
}
