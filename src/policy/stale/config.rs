use std::time::Duration;

use crate::config_error::{ConfigError, expected};
use crate::consistency::Consistency;
use crate::getters::getters;

/// The config of stale responses: the store, and the choice between consistency and availability.
///
/// # Defaults
///
/// | field | default |
/// |---|---|
/// | `store_bytes` | none: no response is stored |
/// | `body_bytes` | 256 KiB, or all of a smaller store |
/// | `shared` | yes |
/// | `consistency` | [`Refuse`](Consistency::Refuse) |
/// | `while_revalidate` | none: each call asks the server |
///
/// A value that is not set has its default. In the config of a destination it is taken from the surrounding config.
/// The store is the same for all destinations, so a destination cannot set `store_bytes`.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::Consistency;
/// use sevenhops::policy::stale::StaleConfig;
///
/// let config = StaleConfig::new()
///     .store_bytes(16 << 20)
///     .consistency(Consistency::StaleFor(Duration::from_secs(60)));
/// # drop(config);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct StaleConfig {
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    store_bytes: Option<usize>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    body_bytes: Option<usize>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    shared: Option<bool>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    consistency: Option<Consistency>,
    #[cfg_attr(
        feature = "serde",
        serde(
            with = "crate::serde_forms::optional_duration",
            skip_serializing_if = "Option::is_none"
        )
    )]
    while_revalidate: Option<Duration>,
}

impl StaleConfig {
    /// Creates a config with all defaults. Nothing is stored.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Stores good responses, up to this number of bytes: 64 KiB to 64 GiB. The least recently used ones make room.
    #[must_use]
    pub fn store_bytes(mut self, most: usize) -> Self {
        self.store_bytes = Some(most);
        self
    }

    /// Sets the longest body that is stored, in bytes as received. At most half of the store.
    #[must_use]
    pub fn body_bytes(mut self, most: usize) -> Self {
        self.body_bytes = Some(most);
        self
    }

    /// Sets whether several users share the client, as a shared cache of RFC 9111. A shared store keeps no `private`
    /// response. A request with `Authorization` needs a response with `public` or `s-maxage`.
    ///
    /// With `false`, both are stored. Requests with different credentials never share a response in either case.
    #[must_use]
    pub fn shared(mut self, yes: bool) -> Self {
        self.shared = Some(yes);
        self
    }

    /// Sets the choice for requests that do not choose by themselves
    /// ([`Options::consistency`](crate::Options::consistency)). A window is more than 0 s, and at most 24 h.
    #[must_use]
    pub fn consistency(mut self, consistency: Consistency) -> Self {
        self.consistency = Some(consistency);
        self
    }

    /// Serves a stored response of at most this age at once, and refreshes it in the background. The age is more than 0
    /// s and at most the window. It applies to requests with a window only.
    #[must_use]
    pub fn while_revalidate(mut self, most: Duration) -> Self {
        self.while_revalidate = Some(most);
        self
    }

    getters! {
        get_store_bytes(store_bytes) -> Option<usize> = |own| own.store_bytes;
        get_shared(shared) -> bool = |own| own.shared.unwrap_or(true);
        get_consistency(consistency) -> Consistency = |own| own.consistency.unwrap_or_default();
        get_while_revalidate(while_revalidate) -> Option<Duration> = |own| own.while_revalidate;
        get_body_bytes(body_bytes) -> usize = |own| own.body_bytes.unwrap_or_else(|| {
            let half = own.store_bytes.map_or(BODY_BYTES, |store| store / 2);
            half.min(BODY_BYTES)
        });
    }

    /// Returns this config, with missing values taken from the surrounding config.
    pub(crate) fn over(self, around: &Self) -> Self {
        Self {
            store_bytes: self.store_bytes.or(around.store_bytes),
            body_bytes: self.body_bytes.or(around.body_bytes),
            shared: self.shared.or(around.shared),
            consistency: self.consistency.or(around.consistency),
            while_revalidate: self.while_revalidate.or(around.while_revalidate),
        }
    }

    /// Returns this config with every default written out. Without a store there is nothing to write.
    pub(crate) fn written_out(&self) -> Self {
        if self.store_bytes.is_none() {
            return self.clone();
        }
        Self {
            body_bytes: Some(self.get_body_bytes()),
            shared: Some(self.get_shared()),
            consistency: Some(self.get_consistency()),
            ..self.clone()
        }
    }

    /// Returns whether the config has a store of its own.
    pub(crate) const fn has_store(&self) -> bool {
        self.store_bytes.is_some()
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let Some(store) = self.store_bytes else {
            return self.check_without_store();
        };
        if !STORE_BYTES.contains(&store) {
            let expected = "65536..=68719476736";
            return Err(ConfigError::invalid("stale.store_bytes", store, expected));
        }
        let (body, half) = (self.get_body_bytes(), store / 2);
        if body == 0 || body > half {
            let expected = format_args!("1..={half}, half of stale.store_bytes");
            return Err(ConfigError::invalid("stale.body_bytes", body, expected));
        }
        let window = self.get_consistency().window();
        if let Some(window) = window {
            expected::wait("stale.consistency.stale_for", window)?;
        }
        if let Some(revalidate) = self.while_revalidate {
            expected::wait("stale.while_revalidate", revalidate)?;
            if let Some(window) = window.filter(|window| revalidate > *window) {
                let path = ("stale.while_revalidate", revalidate);
                return Err(ConfigError::longer(
                    path,
                    ("stale.consistency.stale_for", window),
                ));
            }
        }
        Ok(())
    }

    /// Refuses the fields that would have no effect.
    fn check_without_store(&self) -> Result<(), ConfigError> {
        let window = self.get_consistency().window();
        let path = match (window, self.while_revalidate, self.body_bytes, self.shared) {
            (Some(_), ..) => "stale.consistency.stale_for",
            (_, Some(_), ..) => "stale.while_revalidate",
            (_, _, Some(_), _) => "stale.body_bytes",
            (.., Some(_)) => "stale.shared",
            (None, None, None, None) => return Ok(()),
        };
        Err(ConfigError::refused(
            path,
            "it needs a store: set stale.store_bytes",
        ))
    }
}

const BODY_BYTES: usize = 256 << 10;
/// A smaller store holds only a few responses. A larger one needs a cache of its own kind.
const STORE_BYTES: std::ops::RangeInclusive<usize> = (64 << 10)..=(64 << 30);

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(config: StaleConfig) -> String {
        config.check().unwrap_err().to_string()
    }

    #[test]
    fn table_of_defaults_says_what_they_are() {
        let config = StaleConfig::new();
        assert_eq!(config.get_store_bytes(), None);
        assert_eq!(config.get_body_bytes(), 256 << 10);
        assert!(config.get_shared());
        assert_eq!(config.get_consistency(), Consistency::Refuse);
        assert_eq!(config.get_while_revalidate(), None);
        assert!(config.check().is_ok());
        assert_eq!(
            StaleConfig::new().store_bytes(128 << 10).get_body_bytes(),
            64 << 10
        );
    }

    #[test]
    fn window_without_a_store_is_refused_by_name() {
        let minute = Duration::from_secs(60);
        let stale = StaleConfig::new().consistency(Consistency::StaleFor(minute));
        let why = "it needs a store: set stale.store_bytes";
        assert_eq!(
            refused(stale.clone()),
            format!("stale.consistency.stale_for: {why}")
        );
        for (config, path) in [
            (
                StaleConfig::new().while_revalidate(minute),
                "while_revalidate",
            ),
            (StaleConfig::new().body_bytes(1), "body_bytes"),
            (StaleConfig::new().shared(false), "shared"),
        ] {
            assert_eq!(refused(config), format!("stale.{path}: {why}"));
        }
        assert!(stale.store_bytes(1 << 20).check().is_ok());
    }

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        let store = StaleConfig::new().store_bytes(1 << 20);
        let stale = |secs| {
            store
                .clone()
                .consistency(Consistency::StaleFor(Duration::from_secs(secs)))
        };
        assert_eq!(
            refused(StaleConfig::new().store_bytes(1)),
            "stale.store_bytes: 1 is invalid: expected 65536..=68719476736"
        );
        assert_eq!(
            refused(store.clone().body_bytes(1 << 20)),
            "stale.body_bytes: 1048576 is invalid: expected 1..=524288, half of stale.store_bytes"
        );
        assert_eq!(
            refused(stale(0)),
            "stale.consistency.stale_for: 0ns is invalid: expected more than 0s, at most 86400s"
        );
        assert_eq!(
            refused(stale(60).while_revalidate(Duration::from_secs(61))),
            "stale.while_revalidate: 61s is invalid: expected at most stale.consistency.stale_for (60s)"
        );
    }

    #[cfg(feature = "serde")]
    #[test]
    fn file_form_is_read_and_written() {
        let text = "store_bytes = 1048576\nshared = false\nconsistency = { stale_for = \"1m\" }\nwhile_revalidate = \"5s\"";
        let read: StaleConfig = toml::from_str(text).unwrap();
        let config = StaleConfig::new()
            .store_bytes(1 << 20)
            .shared(false)
            .consistency(Consistency::StaleFor(Duration::from_secs(60)))
            .while_revalidate(Duration::from_secs(5));
        assert_eq!(read, config);
        let written = serde_json::to_string(&config).unwrap();
        assert_eq!(
            serde_json::from_str::<StaleConfig>(&written).unwrap(),
            config
        );
        let refuse: StaleConfig = toml::from_str("consistency = \"refuse\"").unwrap();
        assert_eq!(refuse.get_consistency(), Consistency::Refuse);
        assert!(toml::from_str::<StaleConfig>("window = \"5s\"").is_err());
    }
}
