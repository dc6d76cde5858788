//! Our resolver, as reqwest and hyper-util take one: it reports to the set-up that asks.

#![cfg_attr(
    not(feature = "hyper"),
    expect(unreachable_pub, reason = "it is shown with that feature")
)]

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::vec;

use hyper_util::client::legacy::connect::dns::Name;
use tower_service::Service;

use super::anywhere::alone;
use super::connector::setup;
use super::look_up::look_up;
use super::target::{Dial, read_host, unseen};
use crate::box_error::BoxError;
use crate::dns::{Filter, Resolve};
use crate::limit::Limits;

/// Looks names up for a connector.
#[derive(Clone, Debug)]
pub struct Names {
    pub(super) resolver: Arc<dyn Resolve>,
    pub(super) filter: Filter,
    pub(super) limits: Limits,
    pub(super) others: Others,
}

type Looking = Pin<Box<dyn Future<Output = Result<Vec<SocketAddr>, BoxError>> + Send>>;

impl Names {
    /// The addresses of a name, without a port.
    fn look_up(&self, name: &str) -> Looking {
        let (this, dial) = (self.clone(), read_host(name));
        Box::pin(async move {
            let dial = dial?;
            let setup = setup();
            let tracker = setup.as_ref().and_then(|setup| {
                setup.asked();
                setup.tracker()
            });
            let tracker = tracker.unwrap_or_else(|| alone(&this.limits));
            let is_other = setup
                .as_ref()
                .is_some_and(|setup| !setup.is_to(&shown(&dial)));
            if is_other && this.filter.is_on() && !this.others.contain(&dial) {
                return Err(unseen(OTHER_NAME).into());
            }
            // A proxy is dialled wherever it is.
            let none = Filter::new();
            let filter = if is_other { &none } else { &this.filter };
            let answer = look_up(&*this.resolver, &dial, filter, &tracker).await?;
            let unported = |ip: &IpAddr| SocketAddr::new(*ip, 0);
            let addresses: Vec<_> = answer.addresses().iter().map(unported).collect();
            if let Some(setup) = setup {
                let port = setup.port.filter(|_| !is_other);
                let first = addresses.first().zip(port);
                setup.dialling(first.map(|(first, port)| SocketAddr::new(first.ip(), port)));
            }
            Ok(addresses)
        })
    }
}

/// Which names a connector may ask for besides the URL's, where the filter is on.
#[derive(Clone, Debug)]
pub(super) enum Others {
    /// Those of the proxies; none, where there is no proxy.
    These(Arc<[Dial]>),
    /// All: the connector leads to a proxy that filters.
    #[cfg(feature = "hyper")]
    All,
}

impl Others {
    fn contain(&self, dial: &Dial) -> bool {
        match self {
            Self::These(dials) => dials.contains(dial),
            #[cfg(feature = "hyper")]
            Self::All => true,
        }
    }
}

fn shown(dial: &Dial) -> Cow<'_, str> {
    match dial {
        Dial::Name(name) => Cow::Borrowed(name),
        Dial::Address(address) => Cow::Owned(address.to_string()),
    }
}

const OTHER_NAME: &str = "the connector asks for a name that is not the URL's (where it leads to a proxy \
                          that filters, say proxy_filters(true))";

impl reqwest::dns::Resolve for Names {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let looking = self.look_up(name.as_str());
        Box::pin(async move {
            let addresses: reqwest::dns::Addrs = Box::new(looking.await?.into_iter());
            Ok(addresses)
        })
    }
}

impl Service<Name> for Names {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let looking = self.look_up(name.as_str());
        Box::pin(async move { Ok(looking.await?.into_iter()) })
    }
}
