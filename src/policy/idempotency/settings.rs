use http::header::{self, HeaderName};

use crate::config_error::SettingError;
use crate::destination::Destination;

/// How keys are made, and who honours them.
///
/// # Defaults
///
/// | setting | default |
/// |---|---|
/// | `header` | `idempotency-key` |
/// | `quoted` | no: a bare UUID |
/// | `make_keys` | yes, for POST and PATCH |
/// | `honoured_by_all` | no |
/// | `honoured_by` | nobody |
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Settings {
    #[cfg_attr(feature = "serde", serde(with = "crate::file::text"))]
    pub(super) header: HeaderName,
    pub(super) quoted: bool,
    pub(super) make_keys: bool,
    pub(super) honoured_by_all: bool,
    #[cfg_attr(feature = "serde", serde(with = "crate::file::texts"))]
    pub(super) honoured_by: Vec<Destination>,
}

impl Settings {
    /// Makes keys for POST and PATCH, and believes nobody to honour them.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the name of the header.
    ///
    /// A key that the caller brought as `idempotency-key` or `x-idempotency-key` is recognized under any
    /// setting, stays where it is, and is the key of the call.
    #[must_use]
    pub fn header(mut self, name: HeaderName) -> Self {
        self.header = name;
        self
    }

    /// Sends keys as a quoted string, as the IETF's draft has it, instead of bare.
    #[must_use]
    pub fn quoted(mut self, yes: bool) -> Self {
        self.quoted = yes;
        self
    }

    /// Switches the making of keys on or off.
    #[must_use]
    pub fn make_keys(mut self, yes: bool) -> Self {
        self.make_keys = yes;
        self
    }

    /// Vouches for every destination: a POST or PATCH whose answer was lost is sent again with the
    /// same key.
    #[must_use]
    pub fn honoured_by_all(mut self, yes: bool) -> Self {
        self.honoured_by_all = yes;
        self
    }

    pub(crate) fn check(&self) -> Result<(), SettingError> {
        if !TAKEN.contains(&self.header) {
            return Ok(());
        }
        let name = self.header.as_str();
        let range = "the names that HTTP has no other use for";
        Err(SettingError::out_of_range(
            "idempotency header",
            name,
            range,
        ))
    }

    /// Vouches for one destination more.
    #[must_use]
    pub fn honoured_by(mut self, destination: Destination) -> Self {
        self.honoured_by.push(destination);
        self
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            header: super::KEY,
            quoted: false,
            make_keys: true,
            honoured_by_all: false,
            honoured_by: Vec::new(),
        }
    }
}

/// What frames a message, names its target or proves who asks.
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
        let settings = Settings::new();
        assert_eq!(settings.header.as_str(), "idempotency-key");
        assert!(!settings.quoted && settings.make_keys && !settings.honoured_by_all);
        assert!(settings.honoured_by.is_empty());
        assert!(settings.check().is_ok());
    }

    #[test]
    fn header_that_http_needs_is_refused_by_name() {
        let settings = Settings::new().header(header::CONTENT_LENGTH);
        let refused = settings.check().unwrap_err().to_string();
        assert!(refused.contains("content-length"), "{refused}");
    }
}
