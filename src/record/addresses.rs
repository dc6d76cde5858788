//! The addresses of a destination, for policies.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// The addresses of one destination. A transport keeps them, and the record of an attempt leads to them.
pub(crate) trait Addresses: fmt::Debug + Send + Sync {
    /// Returns whether the address is still one of the destination's.
    fn knows(&self, address: IpAddr) -> bool;

    /// Returns the current addresses of the destination, in no order.
    fn known(&self) -> Vec<IpAddr>;

    /// Takes over the addresses in the resolver's cache. If the resolver must send a query, a task takes over its
    /// answer. Does not wait.
    fn refresh(self: Arc<Self>);
}
