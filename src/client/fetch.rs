//! The statuses that are a success for a call that receives its whole body.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{HeaderMap, IF_MODIFIED_SINCE, IF_NONE_MATCH, RANGE};
use http::{Method, StatusCode};

use super::Response;
use crate::error::{Error, ReasonText};
use crate::hop::{Diagnosis, Hop, Kind, author_of};
use crate::layer::ConfigHandle;
use crate::policy::redirect::unfollowed;
use crate::timeline::Timeline;

/// The facts about a request that decide what its status means.
#[derive(Debug)]
pub(super) struct StatusTerms {
    /// Whether the request asks for a 304 if nothing was modified.
    pub(super) conditional: bool,
    /// Whether the request asks for a 206, a part of the content.
    pub(super) ranged: bool,
    /// The config, which says whether the client follows redirects.
    pub(super) config: ConfigHandle,
}

/// Returns whether a request asks for a 304 (RFC 9110 §13.1).
pub(super) fn is_conditional(method: &Method, headers: [&HeaderMap; 2]) -> bool {
    let mut asking = headers
        .into_iter()
        .flat_map(|headers| [IF_NONE_MATCH, IF_MODIFIED_SINCE].map(|name| (headers, name)));
    matches!(*method, Method::GET | Method::HEAD)
        && asking.any(|(headers, name)| headers.contains_key(name))
}

/// Returns whether a request asks for a 206 (RFC 9110 §14.2).
pub(super) fn is_ranged(headers: [&HeaderMap; 2]) -> bool {
    headers.iter().any(|headers| headers.contains_key(RANGE))
}

impl Response {
    /// Checks the status, and that the body is decoded.
    pub(super) async fn fetched(self, asks: StatusTerms) -> Result<Self, Error> {
        self.of_success(asks).await?.decoded()
    }

    /// Turns a status other than 2xx into an error that shows it and has the beginning of the body. A 206 or a 304 is
    /// an error only if the request did not ask for it.
    pub(super) async fn of_success(mut self, asks: StatusTerms) -> Result<Self, Error> {
        let Some(error) = self.failed_by_status(&asks) else {
            return Ok(self);
        };
        Err(match self.beginning().await {
            body if body.is_empty() => error,
            body => error.with_body(body),
        })
    }

    fn failed_by_status(&self, asks: &StatusTerms) -> Option<Error> {
        let status = self.status();
        let unasked = match status {
            StatusCode::NOT_MODIFIED => !asks.conditional,
            StatusCode::PARTIAL_CONTENT => !asks.ranged,
            _ => false,
        };
        let is_final = status.is_success() || status == StatusCode::NOT_MODIFIED;
        if is_final && !unasked {
            return None;
        }
        if let Some(error) = self.status_error() {
            return Some(error);
        }
        let hop = author_of(status, self.headers());
        let (kind, reason) = if unasked {
            (
                Kind::ProtocolError,
                "the request did not ask for it".to_owned(),
            )
        } else if status.is_redirection() {
            (Kind::RedirectRefused, self.unfollowed(&asks.config))
        } else {
            (Kind::ProtocolError, "it is not a final status".to_owned())
        };
        let diagnosis = Diagnosis::after_head(hop, kind);
        Some(self.shown(diagnosis).because(ReasonText::new(reason)))
    }

    /// Receives the beginning of a failed response's body, within bounds of size and time. An error of the body is
    /// ignored: the status remains the failure.
    async fn beginning(&mut self) -> Bytes {
        let mut kept = BytesMut::new();
        if self.still_encoded().is_some() {
            return kept.freeze();
        }
        let reading = async {
            while let Ok(Some(piece)) = self.chunk().await {
                let room = ERROR_BODY_BYTES - kept.len();
                kept.extend_from_slice(&piece[..piece.len().min(room)]);
                if kept.len() == ERROR_BODY_BYTES {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(ERROR_BODY_TIME, reading).await;
        kept.freeze()
    }

    /// Turns a 304 into an error, for a call that must read a body.
    pub(super) fn readable(self) -> Result<Self, Error> {
        if self.status() != StatusCode::NOT_MODIFIED {
            return Ok(self);
        }
        let diagnosis = Diagnosis::after_head(Hop::Decode, Kind::Malformed);
        Err(self
            .shown(diagnosis)
            .because(ReasonText::new("it has no body")))
    }

    /// Returns an error that shows the status.
    fn shown(&self, mut diagnosis: Diagnosis) -> Error {
        diagnosis.status = Some(self.status());
        self.fail(diagnosis)
    }

    fn unfollowed(&self, config: &ConfigHandle) -> String {
        let call = self.timeline().map(|Timeline(call)| call);
        let route = call.filter(|call| !call.is_redirected());
        let route = route.and_then(|call| call.route());
        let off = !config.follows(self.uri(), route)
            || call.is_some_and(|call| call.options().no_redirects);
        let why = match off {
            true => "redirects are switched off",
            false => unfollowed(self.uri(), self.status(), self.headers()),
        };
        format!("the redirect was not followed: {why}")
    }
}

/// Longer than the text with which a service describes a failure. The bytes stay in memory as long as the error does.
const ERROR_BODY_BYTES: usize = 8 << 10;
/// The body of an error usually comes with its head. A service that stalls there must not delay the error.
const ERROR_BODY_TIME: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_a_conditional_get_or_head_asks_for_a_304() {
        let none = HeaderMap::new();
        for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE] {
            let headers = HeaderMap::from_iter([(name, HeaderValue::from_static("x"))]);
            for method in [Method::GET, Method::HEAD] {
                assert!(is_conditional(&method, [&headers, &none]));
                assert!(is_conditional(&method, [&none, &headers]));
                assert!(!is_conditional(&method, [&none, &none]));
            }
            assert!(!is_conditional(&Method::POST, [&headers, &none]));
        }
    }
}
