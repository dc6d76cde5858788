use std::collections::HashSet;

use http::Uri;

use crate::config_error::ConfigError;
use crate::destination::Destination;

/// The base URLs of one logical name: for example the regions of a service.
///
/// A call to `https://NAME/path` goes to one of them, and its path is appended to the base URL. So does a redirect to
/// that URL, which counts as one to another origin.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::{Config, EndpointConfig, EndpointsConfig};
///
/// let regions = EndpointsConfig::new()
///     .endpoint(EndpointConfig::new("https://eu.pay.test"))
///     .endpoint(EndpointConfig::new("https://us.pay.test").priority(1));
/// let config = Config::new(Duration::from_secs(10)).endpoints("pay.internal", regions);
/// # drop(config);
/// ```
///
/// # Protects from
///
/// The loss of a region. If an attempt fails and a retry is safe, the retry goes to the next endpoint at once. An
/// endpoint that cannot be reached, or that fails three times in a row, is set aside. It is tried again after 1 s, and
/// then after twice the time, up to 60 s. If its circuit is open, the call goes on without an attempt.
///
/// # Defaults
///
/// | setting | default |
/// |---|---|
/// | `priority` of an endpoint | 0: all calls, as long as one of this priority is not set aside |
/// | `weight` of an endpoint | 1: its share of the calls among those of its priority |
/// | `share_keys` | no: after an effect that is possible, a key permits no retry at another endpoint |
///
/// With `share_keys`, a key permits a retry at another endpoint only if that endpoint is known to honor it. This is
/// known from the request's own option, the [`IdempotencyConfig`](crate::IdempotencyConfig) for its host, or the key
/// itself. An endpoint whose config writes keys in another header or form does not know the key. If the retry config
/// for its host permits no further attempt, the call is retried at the same endpoint.
///
/// # Reports
///
/// One timeline for all endpoints: [`TimelineEventKind::FailedOver`](crate::hop::TimelineEventKind::FailedOver) between
/// two attempts, and the URL of each attempt. The event `failed over` is on the span of the call.
///
/// # Trade-offs
///
/// A failover is a retry: it needs an attempt, a token of the budget of the endpoint that it goes to, and time. With
/// `attempts(1)` there is none. After a redirect there is none either: whether another endpoint knows the new URL is not
/// known. A redirect to the origin of its own endpoint stays there, and counts for its health by the result that it
/// leads to. The health of endpoints is this process's own.
///
/// A hint like `Retry-After` holds for the endpoint that sent it. After all endpoints have failed, the call goes to the
/// one that may be asked first.
///
/// The deadline of a call, and its config of stale responses, are those for the logical name. All other values are those
/// for the host of the endpoint. A [`DestinationConfig`](crate::DestinationConfig) for the name that sets others is
/// refused at build.
///
/// # Errors
///
/// A call fails at encode if its URL has a port or userinfo: each endpoint has its own port. It also fails if its URL is
/// https, and the endpoints are http. A redirect to such a URL is refused.
///
/// # How people get it wrong
///
/// - `share_keys` is on, and each region has a store of keys of its own: the same charge can happen in both regions.
/// - A write in one region reaches the other one later: a read after a failover may show older data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct EndpointsConfig {
    urls: Vec<EndpointConfig>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    share_keys: Option<bool>,
}

impl EndpointsConfig {
    /// Creates a config without endpoints.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an endpoint: 1 to 16 of them.
    #[must_use]
    pub fn endpoint(mut self, endpoint: EndpointConfig) -> Self {
        self.urls.push(endpoint);
        self
    }

    /// Sets whether all endpoints share one store of idempotency keys. If they do, a request with a key that both
    /// endpoints honor fails over even if an earlier attempt may have been carried out.
    #[must_use]
    pub fn share_keys(mut self, yes: bool) -> Self {
        self.share_keys = Some(yes);
        self
    }

    /// Returns the endpoints.
    #[must_use]
    pub fn get_urls(&self) -> &[EndpointConfig] {
        &self.urls
    }

    /// Returns whether all endpoints share one store of idempotency keys.
    #[must_use]
    pub fn get_share_keys(&self) -> bool {
        self.share_keys.unwrap_or(false)
    }

    /// Refuses values that are out of range, or that contradict each other.
    fn check(&self, path: &str) -> Result<(), ConfigError> {
        let count = self.urls.len();
        if !(1..=MOST).contains(&count) {
            let expected = format_args!("1..={MOST} endpoints");
            return Err(ConfigError::invalid(
                format!("{path}.urls"),
                count,
                expected,
            ));
        }
        let mut known = HashSet::new();
        for (at, endpoint) in self.urls.iter().enumerate() {
            let path = format!("{path}.urls.{at}");
            let url = endpoint.read(&path)?;
            if url.scheme() != self.urls[0].read(&path)?.scheme() {
                let why = "the endpoints of a name have one scheme: use https for all of them";
                return Err(ConfigError::refused(format!("{path}.url"), why));
            }
            if !known.insert(Destination::of(&url)) {
                let why = "the destination is there twice: remove one";
                return Err(ConfigError::refused(format!("{path}.url"), why));
            }
            if !(1..=HEAVIEST).contains(&endpoint.get_weight()) {
                let path = format!("{path}.weight");
                let expected = format_args!("1..={HEAVIEST}");
                return Err(ConfigError::invalid(path, endpoint.get_weight(), expected));
            }
        }
        Ok(())
    }
}

/// One base URL of a logical name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct EndpointConfig {
    url: String,
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    priority: Option<u32>,
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    weight: Option<u32>,
}

impl EndpointConfig {
    /// Creates an endpoint: `https://eu.pay.test`, or with the beginning of the path.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            priority: None,
            weight: None,
        }
    }

    /// Sets the priority, as in RFC 2782: calls go to the endpoints with the lowest number.
    #[must_use]
    pub fn priority(mut self, priority: u32) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Sets the weight, as in RFC 2782: 1 to 65535. It is relative to the others of the same priority.
    #[must_use]
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = Some(weight);
        self
    }

    /// Returns the base URL.
    #[must_use]
    pub fn get_url(&self) -> &str {
        &self.url
    }

    /// Returns the priority.
    #[must_use]
    pub fn get_priority(&self) -> u32 {
        self.priority.unwrap_or(0)
    }

    /// Returns the weight.
    #[must_use]
    pub fn get_weight(&self) -> u32 {
        self.weight.unwrap_or(1)
    }

    fn read(&self, path: &str) -> Result<Uri, ConfigError> {
        let url = self.url.parse::<Uri>().ok().filter(|url| {
            let scheme = url.scheme_str();
            let is_plain = !self.url.contains(['@', '?', '#']);
            is_plain && url.host().is_some() && matches!(scheme, Some("http" | "https"))
        });
        // The text is not shown: it may hold credentials.
        url.ok_or_else(|| {
            let why =
                "expected a URL like https://eu.pay.test/v1, without userinfo, query and fragment";
            ConfigError::refused(format!("{path}.url"), why)
        })
    }
}

/// Checks the endpoints of all names.
pub(crate) fn check(all: &[(String, EndpointsConfig)]) -> Result<(), ConfigError> {
    let mut known = HashSet::new();
    for (name, endpoints) in all {
        let path = format!("endpoints.{name:?}");
        let is_name = |uri: &Uri| uri.host() == Some(name) && uri.port().is_none();
        let is_name = name.parse::<Uri>().is_ok_and(|uri| is_name(&uri));
        if !is_name || name.to_ascii_lowercase() != *name {
            let why = "expected a host in lower case without a port, as in pay.internal";
            return Err(ConfigError::refused(path, why));
        }
        if !known.insert(name) {
            return Err(ConfigError::refused(
                path,
                "the name is there twice: remove one",
            ));
        }
        endpoints.check(&path)?;
    }
    for (name, endpoints) in all {
        for (at, endpoint) in endpoints.urls.iter().enumerate() {
            let path = format!("endpoints.{name:?}.urls.{at}");
            let host = endpoint.read(&path)?.host().map(str::to_ascii_lowercase);
            if host.is_some_and(|host| known.contains(&host)) {
                let why = "the host is a logical name itself: name the host behind it";
                return Err(ConfigError::refused(format!("{path}.url"), why));
            }
        }
    }
    Ok(())
}

/// More are a load balancer's work.
const MOST: usize = 16;
/// The same as in RFC 2782.
const HEAVIEST: u32 = 65_535;

#[cfg(test)]
mod tests {
    use super::*;

    fn to(urls: &[&str]) -> EndpointsConfig {
        let all = urls.iter().map(|url| EndpointConfig::new(*url));
        all.fold(EndpointsConfig::new(), EndpointsConfig::endpoint)
    }

    fn refused(name: &str, endpoints: EndpointsConfig) -> String {
        let error = check(&[(name.to_owned(), endpoints)]).unwrap_err();
        error.to_string()
    }

    #[test]
    fn bad_endpoints_are_refused_by_name() {
        for (urls, why) in [
            (&[][..], ": 0 is invalid: expected 1..=16 endpoints"),
            (&["ftp://a.test"], ".0.url: expected a URL like"),
            (&["https://u:secret@a.test"], ".0.url: expected a URL like"),
            (&["https://a.test?b"], ".0.url: expected a URL like"),
            (&["a.test"], ".0.url: expected a URL like"),
            (&["https://a.test", "http://b.test"], ".1.url: the endp"),
            (
                &["https://a.test", "https://A.test:443/x"],
                ".1.url: the dest",
            ),
            (&["https://pay/v1"], ".0.url: the host is a logical name"),
        ] {
            let error = refused("pay", to(urls));
            let expected = format!("endpoints.\"pay\".urls{why}");
            assert!(error.starts_with(&expected), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
        let light = EndpointConfig::new("https://a.test").weight(0);
        let error = refused("pay", EndpointsConfig::new().endpoint(light));
        let expected = "endpoints.\"pay\".urls.0.weight: 0 is invalid: expected 1..=65535";
        assert_eq!(error, expected);
    }

    #[test]
    fn bad_names_are_refused() {
        for name in ["Pay", "pay:80", "https://pay", "", "pay/v1"] {
            let error = refused(name, to(&["https://a.test"]));
            let expected = format!("endpoints.{name:?}: expected a host in lower case");
            assert!(error.starts_with(&expected), "{error}");
        }
        let twice = ["https://a.test", "https://b.test"].map(|url| ("pay".to_owned(), to(&[url])));
        let error = check(&twice).unwrap_err().to_string();
        assert_eq!(
            error,
            "endpoints.\"pay\": the name is there twice: remove one"
        );
        assert!(check(&twice[..1]).is_ok());
    }
}
