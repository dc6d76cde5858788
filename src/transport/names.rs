//! Our resolver, as reqwest and hyper-util take one: it reports to the set-up that asks.

#![cfg_attr(
    not(feature = "hyper"),
    expect(unreachable_pub, reason = "it is shown with that feature")
)]

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
use super::target::Dial;
use crate::box_error::BoxError;
use crate::dns::{Filter, Resolve};
use crate::limit::Limits;

/// Looks names up for a connector.
#[derive(Clone, Debug)]
pub struct Names {
    pub(super) resolver: Arc<dyn Resolve>,
    pub(super) filter: Filter,
    pub(super) limits: Limits,
}

type Looking = Pin<Box<dyn Future<Output = Result<Vec<SocketAddr>, BoxError>> + Send>>;

impl Names {
    /// The addresses of a name, without a port.
    fn look_up(&self, name: &str) -> Looking {
        let (this, name) = (self.clone(), name.to_ascii_lowercase());
        Box::pin(async move {
            let setup = setup();
            let tracker = setup.as_ref().and_then(|setup| {
                setup.asked();
                setup.tracker()
            });
            let tracker = tracker.unwrap_or_else(|| alone(&this.limits));
            // A proxy is dialled wherever it is.
            let to_proxy = setup.as_ref().is_some_and(|setup| !setup.is_to(&name));
            let none = Filter::new();
            let filter = if to_proxy { &none } else { &this.filter };
            let dial = Dial::Name(name);
            let answer = look_up(&*this.resolver, &dial, filter, &tracker).await?;
            let unported = |ip: &IpAddr| SocketAddr::new(*ip, 0);
            let addresses: Vec<_> = answer.addresses().iter().map(unported).collect();
            if let Some(setup) = setup {
                let port = setup.port.filter(|_| !to_proxy);
                let first = addresses.first().zip(port);
                setup.dialling(first.map(|(first, port)| SocketAddr::new(first.ip(), port)));
            }
            Ok(addresses)
        })
    }
}

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
