//! Follows redirects: each leg is a request of its own, with its own destination.

mod layer;
mod next;
mod settings;

pub use self::layer::{RedirectLayer, RedirectService};
pub use self::settings::Settings;

pub(crate) use self::next::{Asked, Leg, Rules, next, prune};
