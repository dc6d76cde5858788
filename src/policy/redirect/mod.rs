//! Follows redirects: each leg is a request of its own, with its own destination.

mod next;
mod settings;
#[cfg(feature = "client")]
mod unfollowed;

pub use self::settings::Settings;

pub(crate) use self::next::{Asked, Leg, Rules, next, prune};
#[cfg(feature = "client")]
pub(crate) use self::unfollowed::unfollowed;
