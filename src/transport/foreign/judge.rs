//! The URL that a connector is asked for, judged by the filter. A URL that the filter cannot judge is refused.

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

/// Where a connector is asked to go.
pub(super) struct Seen {
    pub(super) dial: Dial,
    pub(super) port: Option<u16>,
    is_judged: bool,
    /// Whether the host is written as it is read here: else the connector may read it in another way.
    is_canonical: bool,
}

impl Seen {
    /// Reads what hyper-util asks with.
    #[cfg(feature = "hyper-util")]
    pub(super) fn of_uri(uri: &Uri) -> Option<Self> {
        let mut seen = Self::of_url(&Url::parse(&uri.to_string()).ok()?)?;
        seen.is_canonical = is_canonical(uri, &seen.dial);
        Some(seen)
    }

    /// Reads what reqwest asks with. Its URLs are of this type from the start: a host has one spelling only.
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

/// Refuses what the filter refuses, and what it cannot judge. ResolverService are judged when they are looked up.
pub(super) fn judge(filter: &AddressFilter, seen: Option<&Seen>) -> Result<(), Error> {
    if !filter.is_on() {
        return Ok(());
    }
    let seen = seen.ok_or_else(|| unseen("the connector does not tell where it is asked to go"))?;
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

/// Whether a filter can judge where a URL leads: of other schemes, only their connectors know.
pub(super) fn is_judged(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
}

/// The filter is on, and cannot see where a request goes.
#[derive(Debug)]
struct Unseen(&'static str);

impl std::fmt::Display for Unseen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the filter cannot judge where this goes: {}", self.0)
    }
}

impl std::error::Error for Unseen {}

/// The refusal of a filter that is on.
pub(super) fn unseen(why: &'static str) -> Error {
    Error::new(Diagnosis::unsent(Hop::Dns, Kind::Filtered)).caused_by(Unseen(why))
}

/// Of a scheme that is not [judged](is_judged).
pub(super) const OTHER_SCHEME: &str = "its scheme is not http or https";

#[cfg(all(test, feature = "hyper-util"))]
#[path = "judge_tests.rs"]
mod tests;
