//! One logical name with several base URLs: which one next, and which one is set aside.

mod config;
mod decide;
mod state;

pub use self::config::{EndpointConfig, EndpointsConfig};

pub(crate) use self::config::check;
pub(crate) use self::state::{EndpointChoice, EndpointHint, Endpoints, NextEndpoint};
