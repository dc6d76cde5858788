use http::HeaderName;

use crate::call::Call;
use crate::config_error::ConfigError;
use crate::getters::getters;

/// The config of redirects: how many are followed, and which headers are kept.
///
/// # Example
///
/// ```
/// use http::HeaderName;
/// use sevenhops::{RedirectConfig, RedirectLayer};
///
/// let config = RedirectConfig::new()
///     .max_redirects(3)
///     .keep_header_cross_origin(HeaderName::from_static("x-request-id"));
/// let layer = RedirectLayer::new(config)?;
/// # drop(layer); Ok::<(), sevenhops::ConfigError>(())
/// ```
///
/// # Defaults
///
/// | field | default |
/// |---|---|
/// | `enabled` | yes |
/// | `max_redirects` | 10 |
/// | `keep_header_cross_origin` | none |
///
/// A value that is not set has its default. In the config of a destination it is taken from the surrounding config.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct RedirectConfig {
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    enabled: Option<bool>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    max_redirects: Option<u32>,
    #[cfg_attr(
        feature = "serde",
        serde(
            with = "crate::serde_forms::optional_texts",
            skip_serializing_if = "Option::is_none"
        )
    )]
    keep_header_cross_origin: Option<Vec<HeaderName>>,
}

impl RedirectConfig {
    /// Creates a config with all defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether redirects are followed. If not, the redirect response is returned as it is.
    #[must_use]
    pub fn enabled(mut self, yes: bool) -> Self {
        self.enabled = Some(yes);
        self
    }

    /// Sets how many redirects a call follows: 1 to 50.
    #[must_use]
    pub fn max_redirects(mut self, max_redirects: u32) -> Self {
        self.max_redirects = Some(max_redirects);
        self
    }

    /// Keeps one more header of the request on a redirect to another origin. A header that may be a credential is
    /// removed even if it is named here.
    #[must_use]
    pub fn keep_header_cross_origin(mut self, name: HeaderName) -> Self {
        self.keep_header_cross_origin
            .get_or_insert_default()
            .push(name);
        self
    }

    getters! {
        get_enabled(enabled) -> bool = |own| own.enabled.unwrap_or(true);
        get_max_redirects(max_redirects) -> u32 = |own| own.max_redirects.unwrap_or(REDIRECTS);
        get_keep_header_cross_origin(keep_header_cross_origin) -> &[HeaderName]
            = |own| own.keep_header_cross_origin.as_deref().unwrap_or_default();
    }

    /// Returns whether the redirects of this call are followed.
    pub(crate) fn follows(&self, call: &Call) -> bool {
        self.get_enabled() && !call.options().no_redirects
    }

    /// Returns how many redirects are followed.
    pub(crate) fn redirect_limit(&self) -> usize {
        self.get_max_redirects() as usize
    }

    /// Returns this config, with missing values taken from the surrounding config. A config that follows no redirects
    /// keeps the other values, for a more specific config that follows redirects again.
    pub(crate) fn over(self, around: &Self) -> Self {
        Self {
            enabled: self.enabled.or(around.enabled),
            max_redirects: self.max_redirects.or(around.max_redirects),
            keep_header_cross_origin: (self.keep_header_cross_origin)
                .or_else(|| around.keep_header_cross_origin.clone()),
        }
    }

    /// Returns this config with every default written out.
    pub(crate) fn written_out(&self) -> Self {
        if !self.get_enabled() {
            return Self::new().enabled(false);
        }
        Self {
            enabled: Some(true),
            max_redirects: Some(self.get_max_redirects()),
            keep_header_cross_origin: Some(self.get_keep_header_cross_origin().to_vec()),
        }
    }

    /// Refuses values that are out of range, whichever config they come from.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let max_redirects = self.get_max_redirects();
        if (1..=MOST).contains(&max_redirects) {
            return Ok(());
        }
        let expected = "1..=50; to follow none, set `enabled` to false";
        Err(ConfigError::invalid(
            "redirect.max_redirects",
            max_redirects,
            expected,
        ))
    }

    /// Refuses values of one config that have no effect because of its own `enabled: false`.
    pub(crate) fn check_alone(&self) -> Result<(), ConfigError> {
        if self.get_enabled() {
            return Ok(());
        }
        let expected = "no value where redirect.enabled is false";
        if let Some(max_redirects) = self.max_redirects {
            return Err(ConfigError::invalid(
                "redirect.max_redirects",
                max_redirects,
                expected,
            ));
        }
        match &self.keep_header_cross_origin {
            None => Ok(()),
            Some(names) => {
                let path = "redirect.keep_header_cross_origin";
                Err(ConfigError::invalid(path, names, expected))
            }
        }
    }
}

/// The same as in reqwest.
const REDIRECTS: u32 = 10;
/// Browsers stop at 20.
const MOST: u32 = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_of_defaults_says_what_they_are() {
        let doc = include_str!("config.rs");
        let config = RedirectConfig::new();
        assert!(doc.contains(&format!(
            "/// | `max_redirects` | {} |",
            config.get_max_redirects()
        )));
        assert!(config.get_enabled() && config.get_keep_header_cross_origin().is_empty());
        assert!(config.check().is_ok());
    }

    #[test]
    fn limits_pass_through_a_part_that_follows_none() {
        let name = HeaderName::from_static("x-trace");
        let around = RedirectConfig::new()
            .max_redirects(3)
            .keep_header_cross_origin(name.clone());
        let none = RedirectConfig::new().enabled(false).over(&around);
        assert!(none.check().is_ok() && !none.get_enabled());
        assert_eq!(none.written_out(), RedirectConfig::new().enabled(false));
        let again = RedirectConfig::new().enabled(true).over(&none);
        assert!(again.get_enabled());
        assert_eq!(
            (
                again.get_max_redirects(),
                again.get_keep_header_cross_origin()
            ),
            (3, &[name][..])
        );
    }
}
