//! Chooses the policies of a call: the same for all calls, or those of its destination.

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::{Request, Uri};

use super::base::Base;
use super::policies::Policies;
use crate::call::Call;
use crate::destination::Table;
use crate::options::Options;

/// The policies of a driver.
#[derive(Clone)]
pub(super) enum Choice {
    /// The same for all calls of the driver.
    One(Arc<Policies>),
    Live(Arc<Live>),
    /// The deadline of these alone. The other policies are those of a driver below.
    #[cfg(feature = "client")]
    DeadlineOf(Arc<Live>),
}

/// Policies by destination. They can be replaced while calls are in flight.
pub(crate) struct Live {
    base: Base,
    table: ArcSwap<Table<Arc<Policies>>>,
}

/// The policies of a call, and those of other destinations, if there are any.
pub(super) type Chosen = (Arc<Policies>, Option<Elsewhere>);

/// The policies of URLs to which a redirect may lead. A call keeps those that it began with.
pub(super) type Elsewhere = Arc<Table<Arc<Policies>>>;

impl Live {
    pub(crate) fn new(base: Base, table: Table<Arc<Policies>>) -> Self {
        Self {
            base,
            table: ArcSwap::from_pointee(table),
        }
    }

    pub(crate) const fn base(&self) -> &Base {
        &self.base
    }

    /// Sets the policies of calls that begin from now on.
    pub(crate) fn replace(&self, table: Table<Arc<Policies>>) {
        self.table.store(Arc::new(table));
    }
}

impl Choice {
    /// Chooses the policies of a call.
    #[inline]
    pub(super) fn of<B>(&self, request: &Request<B>) -> Chosen {
        match self {
            Self::One(policies) => (Arc::clone(policies), None),
            Self::Live(live) => live.of(request),
            #[cfg(feature = "client")]
            Self::DeadlineOf(live) => {
                let (policies, _) = live.of(request);
                (Arc::new(policies.deadline_alone()), None)
            }
        }
    }
}

impl Live {
    #[inline]
    fn of<B>(&self, request: &Request<B>) -> Chosen {
        let table = self.table.load();
        if table.is_one() {
            return (Arc::clone(table.plain.rest()), None);
        }
        let route = match table.has_routes() {
            true => route(request),
            false => None,
        };
        let policies = Arc::clone(table.find(request.uri(), route.as_deref()));
        (policies, Some(Arc::clone(&table)))
    }
}

/// Returns the route of a request: its own, or that of the call around it.
fn route<B>(request: &Request<B>) -> Option<Arc<str>> {
    let own = request.extensions().get::<Options>();
    let own = own.and_then(|options| options.route.clone());
    own.or_else(|| Call::route_around(request))
}

/// Returns the policies of a URL to which a redirect or an endpoint leads. The route of the call does not apply to the
/// target of a redirect.
pub(super) fn of_leg(elsewhere: &Elsewhere, url: &Uri, route: Option<&str>) -> Arc<Policies> {
    Arc::clone(elsewhere.find(url, route))
}
