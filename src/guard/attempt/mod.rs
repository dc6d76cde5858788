//! One try: its limit, the limits of its hops, and the tracker that names where it fails.

mod body;
mod due;
mod future;
mod layer;

pub use self::body::AttemptBody;
pub use self::future::ResponseFuture;
pub(crate) use self::layer::foreign;
pub use self::layer::{AttemptLayer, AttemptService};
