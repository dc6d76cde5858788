//! Removes secrets from causes.

use std::error::Error as StdError;
use std::fmt;

use crate::box_error::BoxError;

/// Removes possible secrets from a cause. reqwest prints the whole URL with its query, and h2 prints the text of the
/// peer's GOAWAY. If another error wraps one of them, only a fixed text remains.
pub(super) fn clean(source: BoxError) -> BoxError {
    #[cfg(feature = "reqwest")]
    let source = match source.downcast::<reqwest::Error>() {
        Ok(error) => Box::new(error.without_url()) as BoxError,
        Err(other) => other,
    };
    let mut link: Option<&(dyn StdError + 'static)> = Some(&*source);
    while let Some(error) = link {
        if tells(error) {
            return Box::new(Withheld);
        }
        link = error.source();
    }
    source
}

/// Returns whether the text of an error may hold a secret.
fn tells(error: &(dyn StdError + 'static)) -> bool {
    #[cfg(feature = "reqwest")]
    if error
        .downcast_ref::<reqwest::Error>()
        .and_then(reqwest::Error::url)
        .is_some_and(is_secret)
    {
        return true;
    }
    error.downcast_ref::<h2::Error>().is_some_and(|error| {
        // A GOAWAY without debug data holds no text of the peer, and h2's own reasons are constants.
        error.is_remote() && error.is_go_away() && error.to_string().contains('"')
    })
}

/// Returns whether a URL holds parts that may not be shown: see [`redacted`](crate::redact::redacted).
#[cfg(feature = "reqwest")]
fn is_secret(url: &url::Url) -> bool {
    let userinfo = !url.username().is_empty() || url.password().is_some();
    userinfo || url.query().is_some() || url.fragment().is_some()
}

/// Replaces a cause whose text may hold a secret.
#[derive(Debug)]
struct Withheld;

impl fmt::Display for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(withheld: its text may hold a secret)")
    }
}

impl StdError for Withheld {}

#[cfg(test)]
mod messages {
    crate::messages_tests::list!(Withheld: super::Withheld);
}
