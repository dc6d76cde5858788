//! The causes of an error, one after another.

use std::error::Error as StdError;
use std::{io, iter};

/// The error of a connector that uses a SOCKS proxy. It has no public name.
#[cfg(any(feature = "hyper-util", feature = "reqwest"))]
pub(crate) type SocksError = <hyper_util::client::legacy::connect::proxy::SocksV5<
    hyper_util::client::legacy::connect::HttpConnector,
> as tower_service::Service<http::Uri>>::Error;

/// Returns an error and all its causes, the outermost first, including causes that `source` does not return.
pub(crate) fn chain<'e>(
    error: &'e (dyn StdError + 'static),
) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    iter::successors(Some(error), |error| cause(*error)).take(LONGEST_CHAIN)
}

fn cause<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e (dyn StdError + 'static)> {
    if let Some(io) = error.downcast_ref::<io::Error>() {
        return match io.get_ref() {
            Some(wrapped) => Some(wrapped),
            None => io.source(),
        };
    }
    if let Some(h2) = error.downcast_ref::<h2::Error>() {
        return h2.get_io().map(|io| io as _);
    }
    // Its `source` does not return the failed connection to the proxy.
    #[cfg(any(feature = "hyper-util", feature = "reqwest"))]
    if let Some(SocksError::Inner(connect)) = error.downcast_ref() {
        return Some(connect);
    }
    // Its `source` skips the wrapped error, because its `Display` shows it.
    #[cfg(feature = "reqwest-middleware")]
    if let Some(wrapper) = error.downcast_ref::<reqwest_middleware::Error>() {
        return Some(match wrapper {
            reqwest_middleware::Error::Middleware(wrapped) => wrapped.as_ref(),
            reqwest_middleware::Error::Reqwest(wrapped) => wrapped,
        });
    }
    error.source()
}

/// Longer than any real chain. The bound protects against a cycle.
const LONGEST_CHAIN: usize = 32;
