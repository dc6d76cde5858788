//! Hooks for clients with connections of their own: hyper-util's, and reqwest's. Such a client looks names up itself,
//! and does not report the sending.

#[cfg(feature = "reqwest")]
mod bare;
mod connector;
mod connector_layer;
mod current;
#[cfg(feature = "hyper-util")]
mod hyper_parts;
mod judge;
#[cfg(feature = "hyper-util")]
mod pool_layer;
mod resolver_service;
#[cfg(feature = "hyper-util")]
mod spelling;

#[cfg(feature = "hyper-util")]
pub use self::connector_layer::{ConnectorFuture, ConnectorLayer};
#[cfg(feature = "hyper-util")]
pub use self::hyper_parts::{HyperParts, TrackedConnector};
#[cfg(feature = "hyper-util")]
pub use self::pool_layer::{PoolLayer, PoolService};
#[cfg(feature = "hyper-util")]
pub use self::resolver_service::ResolverService;
