//! The paved path: hosts file, search list, cache, hickory.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

use super::build::ResolverBuilder;
use super::build_error::BuildError;
use super::error::{Error, Failure, Reason};
use super::flight::{Board, Boarding};
use super::hosts::Hosts;
use super::pair::Pair;
use super::search::Search;
use super::{Answer, Resolve, Resolving, UNCHANGING};
use crate::clock;
use crate::limit::Limit;

/// Resolves names by DNS, and remembers the answers for as long as they are good. Clones share one memory.
///
/// # Example
///
/// ```
/// use sevenhops::dns::Resolver;
/// use sevenhops::limit::Limit;
///
/// let resolver = Resolver::builder()
///     .name_servers(["127.0.0.1:53".parse()?])
///     .limit(Limit::from_secs(1))
///     .build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Cancel safety
///
/// Dropping a look-up is safe. Its query goes on, at most for the limit, and what it brings is remembered.
#[derive(Clone, Debug)]
pub struct Resolver(Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) hosts: Hosts,
    pub(crate) search: Search,
    pub(crate) board: Arc<Board>,
    pub(crate) limit: Limit,
}

impl Resolver {
    /// Creates a resolver that does as the system is told to: its name servers, search list and hosts file.
    ///
    /// # Errors
    ///
    /// Fails if the system's configuration cannot be read or names no server; the error names the file. No
    /// public resolver is ever asked instead.
    pub fn from_system() -> Result<Self, BuildError> {
        Self::builder().build()
    }

    /// Begins with the system's configuration and the defaults of this crate.
    pub fn builder() -> ResolverBuilder {
        ResolverBuilder::new()
    }

    pub(crate) fn from_inner(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }
}

impl Resolve for Resolver {
    fn resolve(&self, host: &str) -> Resolving {
        if let Some(addresses) = self.0.hosts.find(host) {
            return Resolving::Known(Ok(Answer::remembered(Arc::clone(addresses), UNCHANGING)));
        }
        let now = clock::now();
        if let Some(name) = self.0.search.as_is_first(host)
            && let Some(answer) = self.0.board.answer(name, now)
        {
            return Resolving::Known(Ok(answer));
        }
        if let Some(address) = literal(host) {
            return Resolving::Known(Ok(Answer::remembered([address].into(), UNCHANGING)));
        }
        let walk = Walk {
            names: self.0.search.names(host),
            host: host.into(),
            found: None,
        };
        self.0.look_up(walk, now)
    }
}

impl Inner {
    fn look_up(self: &Arc<Self>, mut walk: Walk, now: Instant) -> Resolving {
        let Ok(runtime) = Handle::try_current() else {
            let failure = Failure::because(Reason::Unreachable, NoRuntime);
            return Resolving::Known(Err(walk.error(failure)));
        };
        let pair = match walk.on(&self.board, &runtime, now) {
            Step::Done(answer) => return Resolving::Known(answer),
            Step::Wait(pair) => pair,
        };
        let inner = Arc::clone(self);
        Resolving::Asking(Box::pin(async move {
            let host = walk.host.clone();
            let until = now + inner.limit.get();
            timeout_at(until, walk.wait(pair, &inner.board, &runtime))
                .await
                .unwrap_or_else(|elapsed| {
                    let failure = Failure::because(Reason::Timeout, elapsed);
                    Err(Error::from_failure(&host, failure))
                })
        }))
    }
}

/// One look-up on its way through the names its host may mean.
#[derive(Debug)]
struct Walk {
    names: VecDeque<Box<str>>,
    host: Box<str>,
    /// What the names that were tried had to say, all of it negative.
    found: Option<Failure>,
}

#[derive(Debug)]
enum Step {
    Done(Result<Answer, Error>),
    Wait(Pair),
}

impl Walk {
    /// Goes on to the first name that takes a wait, or to the end.
    fn on(&mut self, board: &Arc<Board>, runtime: &Handle, now: Instant) -> Step {
        while let Some(name) = self.names.pop_front() {
            let answer = match board.board(&name, now, runtime) {
                Boarding::Known(answer) => answer,
                Boarding::Wait(pair) => return Step::Wait(pair),
            };
            if let Some(end) = self.end(answer) {
                return Step::Done(end);
            }
        }
        let found = self.found.take();
        let failure = found.unwrap_or_else(|| Failure::new(Reason::NotFound));
        Step::Done(Err(self.error(failure)))
    }

    async fn wait(
        mut self,
        mut pair: Pair,
        board: &Arc<Board>,
        runtime: &Handle,
    ) -> Result<Answer, Error> {
        loop {
            if let Some(end) = self.end(pair.wait().await) {
                return end;
            }
            pair = match self.on(board, runtime, clock::now()) {
                Step::Done(answer) => return answer,
                Step::Wait(pair) => pair,
            };
        }
    }

    /// Whether the walk ends with what one name had to say. Only a server's word that there is nothing
    /// leads on to the next name: walking past a silent server would answer for another host.
    fn end(&mut self, answer: Result<Answer, Failure>) -> Option<Result<Answer, Error>> {
        match answer {
            Ok(answer) => Some(Ok(answer)),
            Err(failure) if failure.reason.is_negative() => {
                self.found = Some(match self.found.take() {
                    None => failure,
                    Some(found) => found.worst(failure),
                });
                None
            }
            Err(failure) => Some(Err(self.error(failure))),
        }
    }

    fn error(&self, failure: Failure) -> Error {
        Error::from_failure(&self.host, failure)
    }
}

/// An address that was handed in as a name after all: it must not be asked for.
fn literal(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    bare.unwrap_or(host).parse().ok()
}

/// A look-up was begun where there is no tokio runtime to run it.
#[derive(Debug)]
struct NoRuntime;

impl std::fmt::Display for NoRuntime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("there is no tokio runtime to ask from")
    }
}

impl std::error::Error for NoRuntime {}

#[cfg(test)]
#[path = "resolver_tests.rs"]
mod tests;
