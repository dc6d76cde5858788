//! Hooks for clients with connections of their own: hyper-util's, and reqwest's. Such a client looks names up itself,
//! and does not report the sending.

mod anywhere;
#[cfg(feature = "reqwest")]
mod bare;
mod connector;
mod ear;
mod judge;
mod names;
#[cfg(feature = "hyper")]
mod pieces;
#[cfg(feature = "hyper")]
mod pooled;
#[cfg(feature = "hyper")]
mod spelling;

#[cfg(feature = "hyper")]
pub use self::anywhere::{ConnectorFuture, ConnectorLayer};
#[cfg(feature = "hyper")]
pub use self::names::Names;
#[cfg(feature = "hyper")]
pub use self::pieces::{Connector, HyperParts};
#[cfg(feature = "hyper")]
pub use self::pooled::{PoolLayer, Pooled};
