//! The record of an attempt: one store, which every hook reports to.

mod ear;
mod effect;
mod facts;
#[cfg(feature = "har")]
mod kept;
mod log;
mod state;
pub(crate) mod tracker;

pub(crate) use self::effect::effect_of;
pub(crate) use self::facts::Facts;
#[cfg(feature = "client")]
pub(crate) use self::facts::Tickets;
#[cfg(feature = "har")]
pub(crate) use self::kept::Kept;
pub(crate) use self::log::{End, Event};
#[cfg(feature = "client")]
pub(crate) use self::state::MOST_DIALS;
pub(crate) use self::tracker::Tracker;
