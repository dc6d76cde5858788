//! A body that a function creates for each attempt.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;

use super::Stream;
use super::wrapped::Wrapped;
use crate::box_error::BoxError;
use crate::callback::{Site, require};
use crate::hop::{BodyFailed, Unmade};

/// A body, and the function that creates it.
pub(super) struct Made {
    maker: Arc<Maker>,
    state: State,
}

/// The user's function, behind `catch_unwind`.
struct Maker {
    site: Site,
    make: Box<dyn Fn() -> Making + Send + Sync>,
}

/// A piece of a body.
type Piece = Result<Frame<Bytes>, BoxError>;

type Making = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

enum State {
    Idle,
    Making(Making),
    Here(Stream),
    /// The function failed, or the future that it returned. There is no body, and an empty one would be another body.
    Failed,
}

/// The function failed in an earlier call.
#[derive(Debug)]
struct AlreadyFailed;

impl Made {
    pub(super) fn by<F, M, B, E>(make: F) -> Self
    where
        F: Fn() -> M + Send + Sync + 'static,
        M: Future<Output = Result<B, E>> + Send + 'static,
        B: HttpBody + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
        E: Into<BoxError>,
    {
        let make = move || -> Making {
            let making = make();
            Box::pin(async move {
                let body = making.await.map_err(Into::into)?;
                Ok(Wrapped::new(body).boxed_unsync())
            })
        };
        Self {
            maker: Arc::new(Maker {
                site: Site::new("Body::retryable"),
                make: Box::new(make),
            }),
            state: State::Idle,
        }
    }

    /// Returns the same body, not yet created.
    pub(super) fn anew(&self) -> Self {
        Self {
            maker: Arc::clone(&self.maker),
            state: State::Idle,
        }
    }

    /// Calls the function, unless it was called already, and waits for its body.
    pub(super) fn poll_made(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let Maker { site, make } = &*self.maker;
        loop {
            let next = match &mut self.state {
                State::Here(_) => return Poll::Ready(Ok(())),
                State::Failed => Err(AlreadyFailed.into()),
                State::Idle => require(site, make).map(State::Making).map_err(Into::into),
                State::Making(making) => {
                    let made = match require(site, || making.as_mut().poll(cx)) {
                        Ok(polled) => ready!(polled),
                        Err(panicked) => Err(panicked.into()),
                    };
                    made.map(State::Here)
                }
            };
            self.state = State::Failed;
            match next {
                Ok(next) => self.state = next,
                Err(error) => return Poll::Ready(Err(Unmade(error).into())),
            }
        }
    }

    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        if let Err(error) = ready!(self.poll_made(cx)) {
            return Poll::Ready(Some(Err(BodyFailed(error).into())));
        }
        match &mut self.state {
            State::Here(body) => Pin::new(body).poll_frame(cx),
            // Not reached: the body exists here. Otherwise its missing end would look like the end of an empty body.
            State::Idle | State::Making(_) | State::Failed => Poll::Ready(Some(Err(BodyFailed(
                Unmade(AlreadyFailed.into()).into(),
            )
            .into()))),
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        match &self.state {
            State::Here(body) => body.is_end_stream(),
            State::Idle | State::Making(_) | State::Failed => false,
        }
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        match &self.state {
            State::Here(body) => body.size_hint(),
            State::Idle | State::Making(_) | State::Failed => SizeHint::default(),
        }
    }
}

impl fmt::Display for AlreadyFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the function failed in an earlier attempt")
    }
}

impl std::error::Error for AlreadyFailed {}

#[cfg(test)]
mod messages {
    crate::messages_tests::list!(AlreadyFailed: super::AlreadyFailed);
}
