//! Whole calls over real loopback sockets.

#[cfg(test)]
#[path = "../frozen/mod.rs"]
mod frozen;
#[cfg(test)]
#[path = "../mock/mod.rs"]
mod mock;
#[cfg(test)]
#[path = "../net/mod.rs"]
mod net;
#[cfg(test)]
#[path = "../partition/mod.rs"]
mod partition;

#[cfg(test)]
mod adapters;
#[cfg(test)]
mod addresses;
#[cfg(test)]
mod alerts;
#[cfg(test)]
mod client;
#[cfg(test)]
mod connections;
#[cfg(test)]
mod dark_paths;
#[cfg(test)]
mod dns;
#[cfg(test)]
mod encrypted_dns;
#[cfg(test)]
mod endpoints;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod filter;
#[cfg(test)]
mod gateway;
#[cfg(test)]
mod guide;
#[cfg(test)]
mod hedges;
#[cfg(test)]
mod interactions;
#[cfg(test)]
mod journey;
#[cfg(test)]
mod kit;
#[cfg(test)]
mod probe;
#[cfg(test)]
mod proof;
#[cfg(test)]
mod proxy;
#[cfg(test)]
mod recipes;
#[cfg(test)]
mod recorder;
#[cfg(test)]
mod responses;
#[cfg(test)]
mod retrying;
#[cfg(test)]
mod serving;
