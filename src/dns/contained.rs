//! A user's resolver. If it panics, the lookup fails.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::{DnsError, DnsErrorReason, LookupFuture, NameHold, Refresh, Resolution, Resolve};
use crate::callback::{Panicked, Site, ask, require};

pub(crate) struct ContainedResolver<R> {
    resolver: R,
    site: Arc<Site>,
}

impl<R: Resolve> ContainedResolver<R> {
    pub(crate) fn new(resolver: R) -> Self {
        Self {
            resolver,
            site: Arc::new(Site::new("Resolve")),
        }
    }

    fn contain(&self, host: &str, lookup: impl FnOnce() -> Resolution) -> Resolution {
        match require(&self.site, lookup) {
            Ok(Resolution::Cached(answer)) => Resolution::Cached(answer),
            Ok(Resolution::Pending(asking)) => Resolution::Pending(Box::pin(ContainedLookup {
                asking,
                host: host.into(),
                site: Arc::clone(&self.site),
            })),
            Err(panicked) => Resolution::Cached(Err(failed(host, panicked))),
        }
    }
}

impl<R: Resolve> Resolve for ContainedResolver<R> {
    fn resolve(&self, host: &str) -> Resolution {
        self.contain(host, || self.resolver.resolve(host))
    }

    fn resolve_within(&self, host: &str, limit: Duration) -> Resolution {
        self.contain(host, || self.resolver.resolve_within(host, limit))
    }

    fn report_unreachable(&self, host: &str) -> Option<Refresh> {
        let looking = ask(&self.site, || self.resolver.report_unreachable(host))?;
        Some(Box::pin(Looking {
            looking,
            site: Arc::clone(&self.site),
        }))
    }

    fn hold(&self, host: &str) -> Option<NameHold> {
        ask(&self.site, || self.resolver.hold(host))
    }
}

impl<R: fmt::Debug> fmt::Debug for ContainedResolver<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.resolver.fmt(f)
    }
}

struct ContainedLookup {
    asking: LookupFuture,
    host: Box<str>,
    site: Arc<Site>,
}

impl Future for ContainedLookup {
    type Output = Result<super::Answer, DnsError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { asking, host, site } = self.get_mut();
        let polled = require(site, || asking.as_mut().poll(cx));
        polled.unwrap_or_else(|panicked| Poll::Ready(Err(failed(host, panicked))))
    }
}

struct Looking {
    looking: Refresh,
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

fn failed(host: &str, panicked: Panicked) -> DnsError {
    DnsError::new(host, DnsErrorReason::ServerFailure).caused_by(panicked)
}
