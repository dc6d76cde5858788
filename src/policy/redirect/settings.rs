use http::HeaderName;

use crate::call::Call;
use crate::config_error::SettingError;

/// How far redirects are followed, and what goes along.
///
/// # Defaults
///
/// | setting | default |
/// |---|---|
/// | `follow` | yes |
/// | `most` | 10 |
/// | `keep_across_origins` | none |
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Settings {
    pub(super) follow: bool,
    pub(super) most: u32,
    #[cfg_attr(feature = "serde", serde(with = "crate::file::texts"))]
    pub(super) keep_across_origins: Vec<HeaderName>,
}

impl Settings {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Switches following on or off; off, a redirect is returned as it is.
    #[must_use]
    pub fn follow(mut self, yes: bool) -> Self {
        self.follow = yes;
        self
    }

    #[cfg(feature = "client")]
    pub(crate) const fn is_followed(&self) -> bool {
        self.follow
    }

    /// Sets how many redirects a call follows: 1 to 50.
    #[must_use]
    pub fn most(mut self, most: u32) -> Self {
        self.most = most;
        self
    }

    /// Lets one more header of the request go along to another origin. What may be a credential
    /// stays at home whatever is said here.
    #[must_use]
    pub fn keep_across_origins(mut self, name: HeaderName) -> Self {
        self.keep_across_origins.push(name);
        self
    }

    /// Whether the redirects of this call are followed.
    pub(crate) fn follows(&self, call: &Call) -> bool {
        self.follow && !call.options().no_redirects
    }

    /// How many redirects are followed.
    pub(crate) fn max_redirects(&self) -> usize {
        self.most as usize
    }

    /// What goes along across origins.
    pub(crate) fn kept(&self) -> &[HeaderName] {
        &self.keep_across_origins
    }

    pub(crate) fn check(&self) -> Result<(), SettingError> {
        if (1..=MOST).contains(&self.most) {
            return Ok(());
        }
        let range = "1 to 50; to follow none, switch follow off";
        Err(SettingError::out_of_range("redirects", self.most, range))
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            follow: true,
            most: REDIRECTS,
            keep_across_origins: Vec::new(),
        }
    }
}

/// What reqwest follows, too.
const REDIRECTS: u32 = 10;
/// Browsers give up at 20.
const MOST: u32 = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_of_defaults_says_what_they_are() {
        let doc = include_str!("settings.rs");
        let settings = Settings::new();
        assert!(doc.contains(&format!("/// | `most` | {} |", settings.most)));
        assert!(settings.follow && settings.keep_across_origins.is_empty());
        assert!(settings.check().is_ok());
    }

    #[test]
    fn number_out_of_range_is_refused_by_name_and_value() {
        for most in [0, 51] {
            let refused = Settings::new().most(most).check().unwrap_err();
            let said = format!("redirects of {most} is not within 1 to 50");
            assert!(refused.to_string().starts_with(&said), "{refused}");
        }
    }
}
