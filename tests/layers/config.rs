//! Configs: values that are refused, parts for destinations, and a new config while calls run.

#[cfg(feature = "serde")]
mod bad;
#[cfg(feature = "serde")]
mod bad_load;
mod bad_parts;
mod client;
mod destinations;
#[cfg(feature = "serde")]
mod files;
#[cfg(feature = "serde")]
mod refused;
mod reload;
