//! Follows redirects: each leg is a request of its own, with its own destination.

mod future;
mod layer;
mod next;
mod settings;

pub use self::future::ResponseFuture;
pub use self::layer::{RedirectLayer, RedirectService};
pub use self::settings::Settings;
