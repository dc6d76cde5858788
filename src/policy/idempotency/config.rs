use http::header::{self, HeaderName};

use crate::config_error::ConfigError;
use crate::destination::Destination;
use crate::getters::getters;

/// The config of idempotency keys: how they are generated, and which destinations honor them.
///
/// # Example
///
/// ```
/// use sevenhops::{Client, IdempotencyConfig};
///
/// let config = IdempotencyConfig::new().honored_by("https://api.stripe.com".parse()?);
/// let client = Client::builder(std::time::Duration::from_secs(10))
///     .config(|client| client.idempotency(config));
/// # drop(client); Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Defaults
///
/// | field | default |
/// |---|---|
/// | `header` | `idempotency-key` |
/// | `quoted` | no: a bare UUID |
/// | `generate_keys` | yes, for POST and PATCH |
/// | `honored_by_all` | no |
/// | `honored_by` | none |
///
/// A value that is not set has its default. In the config of a destination it is taken from the surrounding config.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct IdempotencyConfig {
    #[cfg_attr(
        feature = "serde",
        serde(
            with = "crate::serde_forms::optional_text",
            skip_serializing_if = "Option::is_none"
        )
    )]
    header: Option<HeaderName>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    quoted: Option<bool>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    generate_keys: Option<bool>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    honored_by_all: Option<bool>,
    #[cfg_attr(
        feature = "serde",
        serde(
            with = "crate::serde_forms::optional_texts",
            skip_serializing_if = "Option::is_none"
        )
    )]
    honored_by: Option<Vec<Destination>>,
}

impl IdempotencyConfig {
    /// Creates a config with all defaults: keys for POST and PATCH, and no destination that honors them.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the name of the header.
    ///
    /// If the caller sends a key as `idempotency-key` or `x-idempotency-key`, it is recognized whatever header is
    /// configured. It stays in its header and is the key of the call.
    #[must_use]
    pub fn header(mut self, name: HeaderName) -> Self {
        self.header = Some(name);
        self
    }

    /// Sets whether keys are sent as a quoted string, as in the IETF's draft. By default they are bare.
    #[must_use]
    pub fn quoted(mut self, yes: bool) -> Self {
        self.quoted = Some(yes);
        self
    }

    /// Sets whether keys are generated.
    #[must_use]
    pub fn generate_keys(mut self, yes: bool) -> Self {
        self.generate_keys = Some(yes);
        self
    }

    /// Sets whether every destination honors keys. If so, a POST or PATCH whose response was lost is sent again with
    /// the same key. In the config of a destination, `false` also cancels the [`honored_by`](Self::honored_by) of the
    /// surrounding config.
    #[must_use]
    pub fn honored_by_all(mut self, yes: bool) -> Self {
        self.honored_by_all = Some(yes);
        self
    }

    /// Declares that one more destination honors keys.
    #[must_use]
    pub fn honored_by(mut self, destination: Destination) -> Self {
        self.honored_by.get_or_insert_default().push(destination);
        self
    }

    getters! {
        get_header(header) -> &HeaderName = |own| own.header.as_ref().unwrap_or(&HEADER);
        get_quoted(quoted) -> bool = |own| own.quoted.unwrap_or(false);
        get_generate_keys(generate_keys) -> bool = |own| own.generate_keys.unwrap_or(true);
        get_honored_by_all(honored_by_all) -> bool = |own| own.honored_by_all.unwrap_or(false);
        get_honored_by(honored_by) -> &[Destination]
            = |own| own.honored_by.as_deref().unwrap_or_default();
    }

    /// Returns this config, with missing values taken from the surrounding config.
    pub(crate) fn over(self, around: &Self) -> Self {
        Self {
            header: self.header.or_else(|| around.header.clone()),
            quoted: self.quoted.or(around.quoted),
            generate_keys: self.generate_keys.or(around.generate_keys),
            honored_by_all: self.honored_by_all.or(around.honored_by_all),
            honored_by: match self.honored_by_all {
                // `false` cancels the surrounding list too: only the config's own list counts.
                Some(false) => Some(self.honored_by.unwrap_or_default()),
                Some(true) | None => self.honored_by.or_else(|| around.honored_by.clone()),
            },
        }
    }

    /// Returns this config with every default written out.
    pub(crate) fn written_out(&self) -> Self {
        Self {
            header: Some(self.get_header().clone()),
            quoted: Some(self.get_quoted()),
            generate_keys: Some(self.get_generate_keys()),
            honored_by_all: Some(self.get_honored_by_all()),
            honored_by: Some(self.get_honored_by().to_vec()),
        }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let header = self.get_header();
        if !TAKEN.contains(header) {
            return Ok(());
        }
        let expected = "a header that HTTP does not use otherwise";
        let (path, name) = ("idempotency.header", header.as_str());
        Err(ConfigError::invalid(path, name, expected))
    }
}

static HEADER: HeaderName = super::KEY;
/// Headers that frame a message, name its target or carry credentials. The key cannot use them.
const TAKEN: [HeaderName; 14] = [
    header::AUTHORIZATION,
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::EXPECT,
    header::HOST,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::USER_AGENT,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_of_defaults_says_what_they_are() {
        let config = IdempotencyConfig::new();
        assert_eq!(config.get_header().as_str(), "idempotency-key");
        assert!(!config.get_quoted() && config.get_generate_keys() && !config.get_honored_by_all());
        assert!(config.get_honored_by().is_empty());
        assert!(config.check().is_ok());
    }

    #[test]
    fn part_that_vouches_for_none_takes_the_list_around_back() {
        let api: Destination = "https://api.test".parse().unwrap();
        let around = IdempotencyConfig::new().honored_by(api.clone());
        let none = IdempotencyConfig::new().honored_by_all(false);
        for (part, expected) in [
            (IdempotencyConfig::new(), vec![api.clone()]),
            (none.clone(), vec![]),
            (none.honored_by(api.clone()), vec![api.clone()]),
            (IdempotencyConfig::new().honored_by_all(true), vec![api]),
        ] {
            assert_eq!(part.over(&around).get_honored_by(), expected);
        }
    }
}
