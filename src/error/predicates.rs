//! The predicates of an error, named as reqwest's, its URL, and its explanation.

use super::Error;
use crate::hop::{Explanation, Hop, Kind};
use crate::redact::redacted;
use crate::timeline::Timeline;

impl Error {
    /// Returns whether a timeout expired, of this crate or of the gateway.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.kind() == Kind::Timeout
    }

    /// Returns whether the call failed at dns, connect or tls, before a connection was established, and provably had no
    /// effect.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        self.had_no_effect() && matches!(self.hop(), Some(Hop::Dns | Hop::Connect | Hop::Tls))
    }

    /// Returns whether a response came whose status is the failure.
    #[must_use]
    pub fn is_status(&self) -> bool {
        self.status().is_some()
    }

    /// Returns whether the response came and could not be decoded.
    #[must_use]
    pub fn is_decode(&self) -> bool {
        self.hop() == Some(Hop::Decode)
    }

    /// Returns whether a redirect is the failure: it is not followed, it leads back, or there were too many.
    #[must_use]
    pub fn is_redirect(&self) -> bool {
        matches!(
            self.kind(),
            Kind::RedirectRefused | Kind::RedirectLoop | Kind::TooManyRedirects
        )
    }

    /// Returns whether a body failed on its way: the source of the request's body, or the response's body at receive.
    #[must_use]
    pub fn is_body(&self) -> bool {
        self.kind() == Kind::RequestBody || self.hop() == Some(Hop::Receive)
    }

    /// Returns the URL that failed: the requested one, or the one that redirects led to. It has no possible secrets:
    /// no userinfo, query or fragment. `None` for an operation, and for a request whose URL is invalid.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn f(client: sevenhops::Client) {
    /// if let Err(error) = client.get("https://api.test/v1/charges?limit=3").send().await {
    ///     assert_eq!(error.url().as_deref(), Some("https://api.test/v1/charges"));
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn url(&self) -> Option<String> {
        let Timeline(call) = self.timeline()?;
        let uri = call.current_uri();
        uri.host().is_some().then(|| redacted(&uri))
    }

    /// Returns the catalog's entry for this failure: what happened, what it proves, and what to do now. The page
    /// [`errors`](crate::errors) has all entries.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn f(client: sevenhops::Client) {
    /// if let Err(error) = client.post("https://api.test/v1/charges").send().await {
    ///     eprintln!("{error}\n{}", error.explain());
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn explain(&self) -> Explanation {
        let (kind, of_call) = (self.kind(), self.effect());
        match (self.hop(), self.rejected_by()) {
            (Some(hop), _) => Explanation::of_failure(hop, kind, of_call),
            (None, Some(_)) => Explanation::of_rejection(kind, of_call),
            (None, None) => {
                let is_operation = self.timeline().is_some_and(|of| of.method().is_none());
                Explanation::without_hop(is_operation, kind, of_call)
            }
        }
    }
}
