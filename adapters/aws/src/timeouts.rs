//! The timeouts of the SDK.

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::http::HttpConnectorSettings;
use http::Uri;
use sevenhops::{Config, Timeouts};

/// Refuses a timeout of the SDK that is shorter than a single timeout of the stack for the same time. The sum of those
/// may still be longer than the SDK allows.
pub(crate) fn check(
    (config, url): (&Config, &Uri),
    sdk: &HttpConnectorSettings,
) -> Result<(), BoxError> {
    let config = config.effective(url, None)?;
    let (deadline, own) = (config.get_deadline(), *config.get_timeouts());
    // Not the sum: the SDK's default for the connect is shorter than the sum of the stack's defaults.
    // The longest times that any attempt has.
    let attempt = own.get_attempt().unwrap_or(deadline);
    let longest = Timeouts::from_config(deadline, own.attempt(attempt))?;
    let connect = longest.connect().max(longest.tls());
    for (name, allowed, longest) in [
        ("connect_timeout", sdk.connect_timeout(), connect),
        ("read_timeout", sdk.read_timeout(), longest.first_byte()),
    ] {
        if let Some(allowed) = allowed.filter(|allowed| *allowed < longest) {
            let expected = format!("expected at least that of the stack ({longest:?})");
            return Err(format!("{name} of the SDK: {allowed:?} is invalid: {expected}").into());
        }
    }
    Ok(())
}
