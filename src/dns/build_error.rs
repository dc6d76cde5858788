//! Why a [`Resolver`](super::Resolver) could not be built.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "encrypted-dns")]
use hickory_resolver::net::NetError;

use super::search::NDOTS;
#[cfg(feature = "encrypted-dns")]
use crate::config_error::ConfigError;

/// A resolver could not be built with this configuration.
#[derive(Clone, Debug)]
pub struct ResolverBuildError(Wrong);

/// The mistake.
#[derive(Clone, Debug)]
pub(crate) enum Wrong {
    Contradiction {
        less: (&'static str, Duration),
        more: (&'static str, Duration),
    },
    Nothing(&'static str),
    TooManyDots(usize),
    Hosts(String, Arc<io::Error>),
    #[cfg(feature = "encrypted-dns")]
    Client(Arc<NetError>),
    #[cfg(feature = "encrypted-dns")]
    NoName(&'static str, String),
    #[cfg(feature = "encrypted-dns")]
    NoUrl(&'static str, String),
    #[cfg(feature = "encrypted-dns")]
    Trust(Arc<ConfigError>),
}

#[cfg(feature = "encrypted-dns")]
impl Wrong {
    pub(crate) fn client(error: NetError) -> Self {
        Self::Client(Arc::new(error))
    }
}

impl From<Wrong> for ResolverBuildError {
    fn from(wrong: Wrong) -> Self {
        Self(wrong)
    }
}

impl fmt::Display for ResolverBuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Wrong::Contradiction { less, more } => {
                let ((less, short), (more, long)) = (less, more);
                write!(f, "{less} ({short:?}) is longer than {more} ({long:?})")
            }
            Wrong::Nothing(field) => write!(f, "{field} must not be empty or zero"),
            Wrong::TooManyDots(dots) => write!(f, "ndots ({dots}) is more than {NDOTS}"),
            Wrong::Hosts(message, _) => f.write_str(message),
            #[cfg(feature = "encrypted-dns")]
            Wrong::Client(_) => f.write_str("cannot build the DNS client"),
            #[cfg(feature = "encrypted-dns")]
            Wrong::NoName(field, name) => {
                write!(f, "{field}: {name:?} is not a valid TLS server name")
            }
            #[cfg(feature = "encrypted-dns")]
            Wrong::NoUrl(field, url) => {
                write!(
                    f,
                    "{field}: {url:?} is invalid: expected an https URL of a host and a path"
                )
            }
            #[cfg(feature = "encrypted-dns")]
            Wrong::Trust(_) => f.write_str("cannot read the root certificates for DNS over TLS"),
        }
    }
}

impl std::error::Error for ResolverBuildError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0 {
            #[cfg(feature = "encrypted-dns")]
            Wrong::Client(cause) => Some(&**cause),
            Wrong::Hosts(_, cause) => Some(&**cause),
            #[cfg(feature = "encrypted-dns")]
            Wrong::Trust(cause) => Some(&**cause),
            #[cfg(feature = "encrypted-dns")]
            Wrong::NoName(..) | Wrong::NoUrl(..) => None,
            Wrong::Contradiction { .. } | Wrong::Nothing(_) | Wrong::TooManyDots(_) => None,
        }
    }
}
