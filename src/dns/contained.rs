//! A user's resolver. If it panics, the lookup fails.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::{AnswerFuture, Error, Hold, Reason, Resolve, Resolving, SecondLook};
use crate::callback::{Panicked, Site, ask, require};
use crate::timeout::Timeout;

pub(crate) struct Contained<R> {
    resolver: R,
    site: Arc<Site>,
}

impl<R: Resolve> Contained<R> {
    pub(crate) fn new(resolver: R) -> Self {
        Self {
            resolver,
            site: Arc::new(Site::new("Resolve")),
        }
    }

    fn contain(&self, host: &str, look_up: impl FnOnce() -> Resolving) -> Resolving {
        match require(&self.site, look_up) {
            Ok(Resolving::Known(answer)) => Resolving::Known(answer),
            Ok(Resolving::Asking(asking)) => Resolving::Asking(Box::pin(Asking {
                asking,
                host: host.into(),
                site: Arc::clone(&self.site),
            })),
            Err(panicked) => Resolving::Known(Err(failed(host, panicked))),
        }
    }
}

impl<R: Resolve> Resolve for Contained<R> {
    fn resolve(&self, host: &str) -> Resolving {
        self.contain(host, || self.resolver.resolve(host))
    }

    fn resolve_within(&self, host: &str, limit: Timeout) -> Resolving {
        self.contain(host, || self.resolver.resolve_within(host, limit))
    }

    fn suspect(&self, host: &str) -> Option<SecondLook> {
        let looking = ask(&self.site, || self.resolver.suspect(host))?;
        Some(Box::pin(Looking {
            looking,
            site: Arc::clone(&self.site),
        }))
    }

    fn hold(&self, host: &str) -> Option<Hold> {
        ask(&self.site, || self.resolver.hold(host))
    }
}

impl<R: fmt::Debug> fmt::Debug for Contained<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.resolver.fmt(f)
    }
}

struct Asking {
    asking: AnswerFuture,
    host: Box<str>,
    site: Arc<Site>,
}

impl Future for Asking {
    type Output = Result<super::Answer, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { asking, host, site } = self.get_mut();
        let polled = require(site, || asking.as_mut().poll(cx));
        polled.unwrap_or_else(|panicked| Poll::Ready(Err(failed(host, panicked))))
    }
}

struct Looking {
    looking: SecondLook,
    site: Arc<Site>,
}

impl Future for Looking {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { looking, site } = self.get_mut();
        let polled = require(site, || looking.as_mut().poll(cx));
        polled.unwrap_or(Poll::Ready(()))
    }
}

fn failed(host: &str, panicked: Panicked) -> Error {
    Error::new(host, Reason::ServerFailure).caused_by(panicked)
}
