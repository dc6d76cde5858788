//! The record of an attempt: one store, which every hook reports to.

mod addresses;
mod current;
mod effect;
mod facts;
#[cfg(feature = "client")]
mod footprint;
#[cfg(feature = "har")]
mod kept_headers;
mod stages;
mod state;
mod store;
mod sync;
pub(crate) mod tracker;

pub(crate) use self::addresses::Addresses;
pub(crate) use self::effect::effect_of;
#[cfg(feature = "client")]
pub(crate) use self::facts::Tickets;
#[cfg(feature = "har")]
pub(crate) use self::kept_headers::KeptHeaders;
pub(crate) use self::stages::{End, StageRecord};
#[cfg(feature = "client")]
pub(crate) use self::state::MOST_DIALS;
pub(crate) use self::store::Store;
pub(crate) use self::tracker::Tracker;
