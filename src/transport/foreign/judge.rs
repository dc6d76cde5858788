//! Applies the filter to the URL that a connector gets. A URL that the filter cannot judge is refused.

use std::net::SocketAddr;

#[cfg(feature = "hyper-util")]
use http::Uri;
use url::Url;

#[cfg(feature = "hyper-util")]
use super::spelling::is_canonical;
use crate::dns::{AddressDenied, AddressFilter};
use crate::error::Error;
use crate::hop::{Diagnosis, Hop, Kind};
use crate::transport::target::{Dial, host};

/// The destination that a connector gets.
pub(super) struct Seen {
    pub(super) dial: Dial,
    pub(super) port: Option<u16>,
    is_judged: bool,
    /// Whether the host has its canonical spelling. Otherwise the connector may read it in another way.
    is_canonical: bool,
}

impl Seen {
    /// Reads the destination that hyper-util passes.
    #[cfg(feature = "hyper-util")]
    pub(super) fn of_uri(uri: &Uri) -> Option<Self> {
        let mut seen = Self::of_url(&Url::parse(&uri.to_string()).ok()?)?;
        seen.is_canonical = is_canonical(uri, &seen.dial);
        Some(seen)
    }

    /// Reads the destination that reqwest passes. Its URLs always have this type: a host has one spelling only.
    pub(super) fn of_url(url: &Url) -> Option<Self> {
        Some(Self {
            dial: host(url).ok()?,
            port: url.port_or_known_default(),
            is_judged: is_judged(url),
            is_canonical: true,
        })
    }

    pub(super) fn literal(&self) -> Option<SocketAddr> {
        match self.dial {
            Dial::Address(address) => Some(SocketAddr::new(address, self.port?)),
            Dial::Name(_) => None,
        }
    }
}

/// Refuses a destination that the filter refuses or cannot judge. Names are judged when they are looked up.
pub(super) fn judge(filter: &AddressFilter, seen: Option<&Seen>) -> Result<(), Error> {
    if !filter.is_on() {
        return Ok(());
    }
    let seen = seen.ok_or_else(|| unseen("the connector does not show its destination"))?;
    if !seen.is_judged {
        return Err(unseen(OTHER_SCHEME));
    }
    match seen.dial {
        Dial::Address(address) => filter.check(address).map_err(filtered)?,
        Dial::Name(_) => {}
    }
    if !seen.is_canonical {
        return Err(unseen("its host is an address in an unusual spelling"));
    }
    Ok(())
}

pub(super) fn filtered(refused: AddressDenied) -> Error {
    Error::new(Diagnosis::unsent(Hop::Dns, Kind::Filtered)).because(refused)
}

/// Returns whether a filter can judge a URL. For other schemes, only their connectors know the destination.
pub(super) fn is_judged(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
}

/// The error if the filter is on and cannot see where a request goes.
#[derive(Debug)]
struct Unseen(&'static str);

impl std::fmt::Display for Unseen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the filter cannot check the destination: {}", self.0)
    }
}

impl std::error::Error for Unseen {}

/// Returns the refusal of a filter that is on.
pub(super) fn unseen(why: &'static str) -> Error {
    Error::new(Diagnosis::unsent(Hop::Dns, Kind::Filtered)).caused_by(Unseen(why))
}

/// The reason for a scheme that is not [judged](is_judged).
pub(super) const OTHER_SCHEME: &str = "its scheme is not http or https";

#[cfg(all(test, feature = "hyper-util"))]
#[path = "judge_tests.rs"]
mod tests;

#[cfg(test)]
mod messages {
    crate::messages_tests::list!(Unseen: super::Unseen("the connector does not show its destination"), super::Unseen("its host is an address in an unusual spelling"));
}
