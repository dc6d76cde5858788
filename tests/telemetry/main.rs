//! Spans, metrics, archives: what a call reports.

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
#[path = "../schema/mod.rs"]
mod schema;

#[cfg(test)]
mod dashboards;
#[cfg(test)]
mod har;
#[cfg(test)]
mod otel;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod spans;
