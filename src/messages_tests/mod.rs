//! Every sentence that this crate can produce, compared with `tests/messages.txt`.
//!
//! The first part of the file shows each type's sentences, under a heading with the name of the type. The second part
//! has the texts of all sources. `UPDATE_MESSAGES=1 cargo test --all-features --lib messages` writes the file anew:
//! read what changed as the user who gets it.

#[macro_use]
pub(crate) mod of;
// With fewer features, some of the sentences do not exist. Some contain a text of the operating system.
#[cfg(all(
    unix,
    feature = "client",
    feature = "cookies",
    feature = "encrypted-dns",
    feature = "gateway",
    feature = "har",
    feature = "hyper-util",
    feature = "otel",
    feature = "redis",
    feature = "reqwest",
    feature = "reqwest-middleware",
    feature = "serde",
    feature = "testing"
))]
mod whole;

pub(crate) use self::of::{Sentences, list};
