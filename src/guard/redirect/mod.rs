//! Follows redirects: each leg is a request of its own, with its own destination.

mod future;
mod layer;
mod next;
mod settings;
#[cfg(feature = "client")]
mod unfollowed;

pub use self::future::ResponseFuture;
pub use self::layer::{RedirectLayer, RedirectService};
pub use self::settings::Settings;
#[cfg(feature = "client")]
pub(crate) use self::unfollowed::unfollowed;
