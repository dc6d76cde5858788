use std::fmt;

use sevenhops::{Effect, Error};
use stripe_client_core::StripeClientErr;
use stripe_shared::ApiErrors;

/// The failure of a request to Stripe.
#[non_exhaustive]
pub enum StripeError {
    /// No response came, or its body broke off.
    Call(Error),
    /// The response has a status other than 2xx. The second field is Stripe's explanation, if it could be read.
    Response(Error, Option<Box<ApiErrors>>),
    /// Stripe did what was asked, but its response could not be read.
    Decode(String),
    /// The request could not be made of its config. Nothing was sent.
    Config(String),
}

impl StripeError {
    pub(crate) fn responded(status: Error) -> Self {
        let body = status.body();
        let body = body.and_then(|body| std::str::from_utf8(body).ok());
        let read =
            body.and_then(|body| miniserde::json::from_str::<stripe_shared::Error>(body).ok());
        Self::Response(status, read.map(|read| read.error))
    }

    /// Returns whether the charge, or whatever was asked for, happened.
    #[must_use]
    pub fn effect(&self) -> Effect {
        match self {
            Self::Call(error) | Self::Response(error, _) => error.effect(),
            // Only the body of a 2xx is decoded, and no redirect led to it.
            Self::Decode(_) => Effect::Done,
            Self::Config(_) => Effect::None,
        }
    }

    /// Returns whether nothing happened, so that it is safe to try again without asking.
    #[must_use]
    pub fn had_no_effect(&self) -> bool {
        self.effect() == Effect::None
    }

    /// Returns the failure of the call: its hop, its timeline, when to come back.
    #[must_use]
    pub fn call(&self) -> Option<&Error> {
        match self {
            Self::Call(error) | Self::Response(error, _) => Some(error),
            Self::Decode(_) | Self::Config(_) => None,
        }
    }

    /// Returns Stripe's explanation: the code, the reason for a decline.
    #[must_use]
    pub fn api_error(&self) -> Option<&ApiErrors> {
        match self {
            Self::Response(_, explained) => explained.as_deref(),
            Self::Call(_) | Self::Decode(_) | Self::Config(_) => None,
        }
    }
}

impl StripeClientErr for StripeError {
    fn deserialize_err(message: impl fmt::Display) -> Self {
        Self::Decode(message.to_string())
    }
}

impl fmt::Display for StripeError {
    /// Shows the code of Stripe's error, and not its message: that may name a customer.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(error) => error.fmt(f),
            Self::Response(error, explained) => {
                error.fmt(f)?;
                match explained
                    .as_ref()
                    .and_then(|explained| explained.code.as_ref())
                {
                    Some(code) => write!(f, " (Stripe: {})", code.as_str()),
                    None => Ok(()),
                }
            }
            Self::Decode(reason) => write!(f, "Stripe's response cannot be read: {reason}"),
            Self::Config(reason) => write!(f, "the request was not sent: {reason}"),
        }
    }
}

impl fmt::Debug for StripeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StripeError({self})")
    }
}

impl std::error::Error for StripeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.call().map(|error| error as _)
    }
}
