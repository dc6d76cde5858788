//! One logical name with several base URLs: which one comes next, and which one is set aside.

mod config;
mod decide;
mod state;

pub use self::config::{EndpointConfig, EndpointsConfig};

pub(crate) use self::config::check;
pub(crate) use self::state::{EndpointChoice, EndpointHint, Endpoints, NextEndpoint};
