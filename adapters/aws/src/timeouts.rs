//! The timeouts of the SDK.

use std::time::Duration;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::http::HttpConnectorSettings;
use http::Uri;
use sevenhops::{Config, Timeouts};

/// Returns the deadline of a request if a timeout of the SDK is shorter than the stack's for the same time. Then it is
/// the sum of the SDK's two timeouts. Refuses such a timeout if the other one is not set: there is no sum.
pub(crate) fn deadline(
    (config, url): (&Config, &Uri),
    sdk: &HttpConnectorSettings,
) -> Result<Option<Duration>, BoxError> {
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
        let Some(allowed) = allowed.filter(|allowed| *allowed < longest) else {
            continue;
        };
        if let Some((connect, read)) = sdk.connect_timeout().zip(sdk.read_timeout()) {
            return Ok(Some(connect.saturating_add(read).min(deadline)));
        }
        let expected = format!("expected both timeouts, or at least {longest:?}");
        return Err(format!("{name} of the SDK: {allowed:?} is invalid: {expected}").into());
    }
    Ok(None)
}
