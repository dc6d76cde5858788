//! Layers and decisions over a mock service, on a paused clock.

#[cfg(test)]
#[path = "../listen/mod.rs"]
mod listen;
#[cfg(test)]
#[path = "../mock/mod.rs"]
mod mock;
#[cfg(test)]
#[path = "../net/mod.rs"]
mod net;

#[cfg(test)]
mod alone;
#[cfg(test)]
mod arrows;
#[cfg(test)]
mod breaker;
#[cfg(test)]
mod callbacks;
#[cfg(test)]
mod chaos;
#[cfg(test)]
mod config;
#[cfg(test)]
mod hedges;
#[cfg(test)]
mod idempotency;
#[cfg(test)]
mod layers;
#[cfg(test)]
mod nested;
#[cfg(test)]
mod observing;
#[cfg(test)]
mod operation;
#[cfg(test)]
mod policies;
#[cfg(test)]
mod redirect;
#[cfg(test)]
mod retry;
#[cfg(test)]
mod retry_rules;
#[cfg(test)]
mod server_report;
#[cfg(test)]
mod serving;
#[cfg(test)]
mod sizes;
#[cfg(test)]
mod timeline_json;
