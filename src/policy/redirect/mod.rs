//! Follows redirects. Each leg is a request of its own, with its own destination.

mod next;
mod settings;

pub use self::settings::Settings;

#[cfg(feature = "client")]
pub(crate) use self::next::unfollowed;
pub(crate) use self::next::{Asked, Leg, Rules, next, prune};
