//! Hooks for clients with connections of their own: hyper-util's, and reqwest's. Such a client looks names up itself,
//! and does not report the sending.

mod anywhere;
#[cfg(feature = "reqwest")]
mod bare;
mod connector;
mod ear;
mod judge;
mod names;
#[cfg(feature = "hyper-util")]
mod pieces;
#[cfg(feature = "hyper-util")]
mod pooled;
#[cfg(feature = "hyper-util")]
mod spelling;

#[cfg(feature = "hyper-util")]
pub use self::anywhere::{ConnectorFuture, ConnectorLayer};
#[cfg(feature = "hyper-util")]
pub use self::names::Names;
#[cfg(feature = "hyper-util")]
pub use self::pieces::{Connector, HyperParts};
#[cfg(feature = "hyper-util")]
pub use self::pooled::{PoolLayer, Pooled};
