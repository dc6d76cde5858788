//! Every sentence that this crate can produce, compared with `tests/messages.txt`.
//!
//! The first part of the file shows each type's sentences, under a heading with the name of the type. The second part
//! has the texts of all sources. `UPDATE_MESSAGES=1 cargo test --all-features --lib messages` writes the file anew:
//! read what changed as the user who gets it.

#[cfg(all(
    feature = "client",
    feature = "cookies",
    feature = "encrypted-dns",
    feature = "gateway",
    feature = "har",
    feature = "hyper-util",
    feature = "otel",
    feature = "reqwest",
    feature = "reqwest-middleware",
    feature = "serde",
    feature = "testing"
))]
mod causes;
#[cfg(all(
    feature = "client",
    feature = "cookies",
    feature = "encrypted-dns",
    feature = "gateway",
    feature = "har",
    feature = "hyper-util",
    feature = "otel",
    feature = "reqwest",
    feature = "reqwest-middleware",
    feature = "serde",
    feature = "testing"
))]
mod configs;
#[cfg(all(
    feature = "client",
    feature = "cookies",
    feature = "encrypted-dns",
    feature = "gateway",
    feature = "har",
    feature = "hyper-util",
    feature = "otel",
    feature = "reqwest",
    feature = "reqwest-middleware",
    feature = "serde",
    feature = "testing"
))]
mod document;
#[cfg(all(
    feature = "client",
    feature = "cookies",
    feature = "encrypted-dns",
    feature = "gateway",
    feature = "har",
    feature = "hyper-util",
    feature = "otel",
    feature = "reqwest",
    feature = "reqwest-middleware",
    feature = "serde",
    feature = "testing"
))]
mod errors;
#[cfg(all(
    feature = "client",
    feature = "cookies",
    feature = "encrypted-dns",
    feature = "gateway",
    feature = "har",
    feature = "hyper-util",
    feature = "otel",
    feature = "reqwest",
    feature = "reqwest-middleware",
    feature = "serde",
    feature = "testing"
))]
mod events;
pub(crate) mod of;
#[cfg(all(
    feature = "client",
    feature = "cookies",
    feature = "encrypted-dns",
    feature = "gateway",
    feature = "har",
    feature = "hyper-util",
    feature = "otel",
    feature = "reqwest",
    feature = "reqwest-middleware",
    feature = "serde",
    feature = "testing"
))]
mod printed;
#[cfg(all(
    feature = "client",
    feature = "cookies",
    feature = "encrypted-dns",
    feature = "gateway",
    feature = "har",
    feature = "hyper-util",
    feature = "otel",
    feature = "reqwest",
    feature = "reqwest-middleware",
    feature = "serde",
    feature = "testing"
))]
mod sources;

pub(crate) use self::of::{Sentences, list};

/// A heading and its sentences.
type Section = (&'static str, Vec<String>);
