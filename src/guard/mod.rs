//! What stands before the hops: local policies, each a tower layer, each usable alone.
//!
//! Every guard is a folder with the same cast: `mod` says what it is for, `layer` puts it around a
//! service, `future` runs it, `body` follows the response to its last byte, and what remains are
//! pure decisions.

pub mod attempt;
pub mod breaker;
pub mod call;
pub mod idempotency;
pub mod redirect;
pub mod retry;
