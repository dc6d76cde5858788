//! The whole call: its deadline, to the last byte of the body, its timeline and its span.

mod body;
mod future;
mod layer;

pub use self::body::CallBody;
pub use self::future::CallFuture;
pub use self::layer::{CallLayer, CallService};

pub(crate) use self::future::Open;
