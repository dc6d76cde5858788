use http::HeaderName;

use crate::call::Call;
use crate::config_error::ConfigError;
use crate::getters::getters;

/// The settings of redirects: how many are followed, and which headers are kept.
///
/// # Defaults
///
/// | setting | default |
/// |---|---|
/// | `follow` | yes |
/// | `most` | 10 |
/// | `keep_across_origins` | none |
///
/// A value that is not set has its default. In the config of a destination it is taken from the surrounding config.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct RedirectConfig {
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    follow: Option<bool>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    most: Option<u32>,
    #[cfg_attr(
        feature = "serde",
        serde(
            with = "crate::file::optional_texts",
            skip_serializing_if = "Option::is_none"
        )
    )]
    keep_across_origins: Option<Vec<HeaderName>>,
}

impl RedirectConfig {
    /// Creates settings with all defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether redirects are followed. If not, the redirect response is returned as it is.
    #[must_use]
    pub fn follow(mut self, yes: bool) -> Self {
        self.follow = Some(yes);
        self
    }

    /// Sets how many redirects a call follows: 1 to 50.
    #[must_use]
    pub fn most(mut self, most: u32) -> Self {
        self.most = Some(most);
        self
    }

    /// Keeps one more header of the request on a redirect to another origin. A header that may be a credential is
    /// removed even if it is named here.
    #[must_use]
    pub fn keep_across_origins(mut self, name: HeaderName) -> Self {
        self.keep_across_origins.get_or_insert_default().push(name);
        self
    }

    getters! {
        get_follow(follow) -> bool = |own| own.follow.unwrap_or(true);
        get_most(most) -> u32 = |own| own.most.unwrap_or(REDIRECTS);
        get_keep_across_origins(keep_across_origins) -> &[HeaderName]
            = |own| own.keep_across_origins.as_deref().unwrap_or_default();
    }

    /// Returns whether the redirects of this call are followed.
    pub(crate) fn follows(&self, call: &Call) -> bool {
        self.get_follow() && !call.options().no_redirects
    }

    /// Returns how many redirects are followed.
    pub(crate) fn max_redirects(&self) -> usize {
        self.get_most() as usize
    }

    /// The same settings, and where one is missing, that of the config around. A config that follows none keeps the
    /// limits for a more specific one that follows again.
    pub(crate) fn over(self, around: &Self) -> Self {
        Self {
            follow: self.follow.or(around.follow),
            most: self.most.or(around.most),
            keep_across_origins: (self.keep_across_origins)
                .or_else(|| around.keep_across_origins.clone()),
        }
    }

    /// Returns these settings with every default written out.
    pub(crate) fn written_out(&self) -> Self {
        if !self.get_follow() {
            return Self::new().follow(false);
        }
        Self {
            follow: Some(true),
            most: Some(self.get_most()),
            keep_across_origins: Some(self.get_keep_across_origins().to_vec()),
        }
    }

    /// Refuses values that are out of range, wherever they come from.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let most = self.get_most();
        if (1..=MOST).contains(&most) {
            return Ok(());
        }
        let expected = "1..=50; to follow none, switch follow off";
        Err(ConfigError::invalid("redirect.most", most, expected))
    }

    /// Refuses settings of one config that have no effect beside its own `follow: false`.
    pub(crate) fn check_alone(&self) -> Result<(), ConfigError> {
        if self.get_follow() {
            return Ok(());
        }
        let expected = "no value where redirect.follow is false";
        if let Some(most) = self.most {
            return Err(ConfigError::invalid("redirect.most", most, expected));
        }
        match &self.keep_across_origins {
            None => Ok(()),
            Some(names) => {
                let path = "redirect.keep_across_origins";
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
        assert!(doc.contains(&format!("/// | `most` | {} |", config.get_most())));
        assert!(config.get_follow() && config.get_keep_across_origins().is_empty());
        assert!(config.check().is_ok());
    }

    #[test]
    fn limits_pass_through_a_part_that_follows_none() {
        let name = HeaderName::from_static("x-trace");
        let around = RedirectConfig::new()
            .most(3)
            .keep_across_origins(name.clone());
        let none = RedirectConfig::new().follow(false).over(&around);
        assert!(none.check().is_ok() && !none.get_follow());
        assert_eq!(none.written_out(), RedirectConfig::new().follow(false));
        let again = RedirectConfig::new().follow(true).over(&none);
        assert!(again.get_follow());
        assert_eq!(
            (again.get_most(), again.get_keep_across_origins()),
            (3, &[name][..])
        );
    }
}
