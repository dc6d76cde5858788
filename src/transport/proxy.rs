//! Decides whether a request goes directly or through a proxy.

use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;

use http::HeaderValue;
use url::{Host, Url};

use super::no_proxy::NoProxy;
use super::target::{Dial, basic, percent_decode, read_host};
use crate::config_error::ConfigError;

/// The caller's choice of proxies.
#[derive(Clone, Default)]
pub(super) enum Choice {
    #[default]
    Straight,
    Through(String),
    Environment,
}

/// The proxies, and the destinations that are reached without them.
pub(super) struct Proxies {
    exceptions: NoProxy,
    http: Option<Arc<Via>>,
    https: Option<Arc<Via>>,
}

impl Proxies {
    /// Creates the proxies of the caller's choice. `except` is a list like `NO_PROXY`, and is added to that.
    pub(super) fn of(
        choice: &Choice,
        except: &str,
        read: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, ConfigError> {
        let mut exceptions = NoProxy::default();
        let added = exceptions.add(except);
        added.map_err(|unreadable| ConfigError::refused("transport.no_proxy", unreadable))?;
        match choice {
            Choice::Straight => Ok(Self::new(None, None, exceptions)),
            Choice::Through(url) => {
                let via = Some(Arc::new(Via::parse(&EXPLICIT, url)?));
                Ok(Self::new(via.clone(), via, exceptions))
            }
            Choice::Environment => Self::from_env(exceptions, read),
        }
    }

    fn from_env(
        mut exceptions: NoProxy,
        read: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, ConfigError> {
        let set = |name| read(name).filter(|value| !value.is_empty());
        let first = |variables: &[&'static Variable]| {
            let mut set = variables.iter().filter_map(|v| Some((*v, set(v.name)?)));
            set.next().map(|(v, value)| v.via(value)).transpose()
        };
        // A CGI program gets the header `Proxy` of its request as this variable (httpoxy).
        let of_http: &[_] = if set("REQUEST_METHOD").is_some() {
            &[&HTTP[1]]
        } else {
            &[&HTTP[0], &HTTP[1]]
        };
        let all = first(&[&ALL[0], &ALL[1]])?;
        let http = first(of_http)?.or_else(|| all.clone());
        let https = first(&[&HTTPS[0], &HTTPS[1]])?.or(all);
        let listed = |name| set(name).map(|value| (name, value));
        if let Some((name, value)) = listed("NO_PROXY").or_else(|| listed("no_proxy")) {
            let text = value.to_str().ok_or_else(|| not_utf8(name))?;
            let added = exceptions.add(text);
            added.map_err(|unreadable| ConfigError::refused(name, unreadable))?;
        }
        Ok(Self::new(http, https, exceptions))
    }

    fn new(http: Option<Arc<Via>>, https: Option<Arc<Via>>, exceptions: NoProxy) -> Self {
        let is_used = !exceptions.is_everything();
        Self {
            exceptions,
            http: http.filter(|_| is_used),
            https: https.filter(|_| is_used),
        }
    }

    /// Returns whether there is a proxy.
    pub(super) fn is_some(&self) -> bool {
        self.http.is_some() || self.https.is_some()
    }

    /// Returns the hosts of the proxies.
    #[cfg(feature = "reqwest")]
    pub(super) fn dials(&self) -> Arc<[Dial]> {
        let all = [&self.http, &self.https].into_iter().flatten();
        all.map(|via| via.dial.clone()).collect()
    }

    /// Returns the proxy for a destination. `None` if the destination is reached directly.
    pub(super) fn proxy_for(&self, is_secure: bool, dial: &Dial, port: u16) -> Option<Arc<Via>> {
        let via = match is_secure {
            true => self.https.as_ref()?,
            false => self.http.as_ref()?,
        };
        (!self.exceptions.match_to(dial, port)).then(|| Arc::clone(via))
    }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxies")
            .field("http", &self.http)
            .field("https", &self.https)
            .finish_non_exhaustive()
    }
}

/// A proxy.
pub(super) struct Via {
    /// The URL with the credentials, if there are any.
    url: Url,
    /// The URL without the credentials.
    pub(super) shown: String,
    pub(super) dial: Dial,
    pub(super) port: u16,
    pub(super) speaks: Speaks,
    /// The host as a TLS server name.
    pub(super) host: Arc<str>,
    /// User and password.
    pub(super) credentials: Option<Credentials>,
    /// The credentials as a header, for a proxy that speaks HTTP.
    pub(super) authorization: Option<HeaderValue>,
}

/// User and password.
pub(super) type Credentials = (Vec<u8>, Vec<u8>);

/// The protocol of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    Http,
    Socks,
}

impl Via {
    fn parse(variable: &Variable, text: &str) -> Result<Self, ConfigError> {
        let bad = |reason| ConfigError::failed(variable.name, Unfit(reason));
        // As in other tools, a host and a port alone mean a proxy that speaks HTTP.
        let full = if text.contains("://") {
            text.to_owned()
        } else {
            format!("http://{text}")
        };
        let mut url = Url::parse(&full).map_err(|e| ConfigError::failed(variable.name, e))?;
        let usual = match url.scheme() {
            "http" => 80,
            "https" => 443,
            "socks5h" => 1_080,
            scheme => {
                return Err(ConfigError::invalid(
                    variable.scheme,
                    scheme,
                    "http, https or socks5h (socks5 would look names up here: let the proxy do it)",
                ));
            }
        };
        let port = url.port().unwrap_or(usual);
        if url.port().is_none() {
            // Schemes other than http have no well-known port.
            let _ = url.set_port(Some(port));
        }
        let dial = match url.host().ok_or_else(|| bad("the URL has no host"))? {
            // The URL standard leaves the host of other schemes as it is written.
            Host::Domain(name) => read_host(name)
                .map_err(|_| bad("the URL's host is neither a name nor an address"))?,
            Host::Ipv4(address) => Dial::Address(address.into()),
            Host::Ipv6(address) => Dial::Address(address.into()),
        };
        let host = url.host_str().unwrap_or_default();
        let has_credentials = !url.username().is_empty() || url.password().is_some();
        let credentials = has_credentials.then(|| {
            let password = url.password().unwrap_or_default();
            (percent_decode(url.username()), percent_decode(password))
        });
        let via = Self {
            shown: format!("{}://{host}:{port}", url.scheme()),
            speaks: match url.scheme() {
                "socks5h" => Speaks::Socks,
                _ => Speaks::Http,
            },
            host: dial.shown(),
            authorization: credentials
                .as_ref()
                .map(|(user, password)| basic(user, Some(password))),
            credentials,
            dial,
            port,
            url,
        };
        Ok(via)
    }

    /// Returns the proxy's URL, with its credentials.
    #[cfg(feature = "reqwest")]
    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// Returns whether the proxy is reached over TLS.
    pub(super) fn is_secure(&self) -> bool {
        self.url.scheme() == "https"
    }
}

impl fmt::Debug for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// The variable or setter that a proxy's URL came from, for errors. An error never shows the value, which may contain a
/// password.
struct Variable {
    name: &'static str,
    scheme: &'static str,
}

impl Variable {
    fn via(&self, value: OsString) -> Result<Arc<Via>, ConfigError> {
        let text = value.into_string().map_err(|_| not_utf8(self.name))?;
        Via::parse(self, text.trim()).map(Arc::new)
    }
}

fn not_utf8(name: &'static str) -> ConfigError {
    ConfigError::failed(name, Unfit("it is not UTF-8"))
}

macro_rules! variable {
    ($name:literal) => {
        Variable {
            name: $name,
            scheme: concat!($name, " scheme"),
        }
    };
}

const EXPLICIT: Variable = variable!("transport.proxy");
static HTTP: [Variable; 2] = [variable!("HTTP_PROXY"), variable!("http_proxy")];
static HTTPS: [Variable; 2] = [variable!("HTTPS_PROXY"), variable!("https_proxy")];
static ALL: [Variable; 2] = [variable!("ALL_PROXY"), variable!("all_proxy")];

/// Why a proxy's URL is invalid.
#[derive(Debug)]
struct Unfit(&'static str);

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Unfit {}

#[cfg(test)]
mod messages {
    crate::messages_tests::list!(Unfit: super::Unfit("the URL has no host"));
}

#[cfg(test)]
#[path = "proxy_tests.rs"]
mod tests;
