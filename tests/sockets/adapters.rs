//! Tests the table of `sdk`, cell by cell: what each integration sees, retries and learns of DNS.

mod bare;
mod bodies;
mod caller;
mod cut;
mod errors;
mod filtered;
mod hyper;
mod identity;
mod middleware;
mod over;
mod proxied;
mod uploads;
mod world;
