//! The body of a request: bytes, a stream, or a stream that is created for each attempt.

mod counted;
#[cfg(feature = "reqwest-middleware")]
mod extension;
mod gzipped;
mod joined;
mod made;
pub(crate) mod measured;
#[cfg(feature = "reqwest")]
mod reqwest;
mod streamed;
mod wrapped;

use std::any::Any;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream as PieceStream;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};

pub(crate) use self::counted::{Counted, Progress};
#[cfg(feature = "reqwest-middleware")]
pub(crate) use self::extension::BodyExtension;
use self::gzipped::Gzipped;
use self::joined::Joined;
use self::made::Made;
use self::measured::Measured;
#[cfg(feature = "reqwest")]
pub(crate) use self::reqwest::to_reqwest;
use self::streamed::Streamed;
use self::wrapped::Wrapped;
use crate::box_error::BoxError;
use crate::error::{Error, ReasonText};
#[cfg(feature = "reqwest")]
use crate::hop::BodyFailed;
use crate::replay::CloneBody;

/// A request body: shared bytes, or a stream.
///
/// Bytes are sent again if a call is retried. A stream from [`wrap`](Self::wrap) is sent once. It is sent again only
/// if no connection took it. A stream from [`retryable`](Self::retryable) is created for each attempt.
///
/// # Example
///
/// ```
/// use sevenhops::Body;
///
/// let text = Body::from(r#"{"amount":100}"#); // bytes: sent again as often as needed
/// let stream = Body::wrap(http_body_util::Full::new(bytes::Bytes::from("once"))); // any `http_body::Body`
/// let none = Body::empty();
/// # drop((text, stream, none));
/// ```
pub struct Body(Content);

enum Content {
    Bytes(Full<Bytes>),
    Stream(Stream),
    Made(Box<Made>),
    /// A body with the length that the caller announced.
    Announced(Box<Measured<Body>>),
    /// A body whose progress is reported.
    Counted(Box<Counted<Body>>),
    /// Bodies that are sent one after another.
    Joined(Joined),
    /// A body that is compressed while it is sent.
    Gzipped(Box<Gzipped<Body>>),
}

type Stream = UnsyncBoxBody<Bytes, BoxError>;

impl Body {
    /// Creates an empty body.
    #[must_use]
    pub fn empty() -> Self {
        Self::from(Bytes::new())
    }

    /// Creates a body that is produced while it is sent.
    pub fn wrap<B>(body: B) -> Self
    where
        B: HttpBody + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        Self(Content::Stream(Wrapped::new(body).boxed_unsync()))
    }

    /// Creates a body of a stream of pieces. Its length is unknown: announce it with
    /// [`with_length`](Self::with_length), or HTTP/1 sends the body in chunks. It is sent once: for a stream that can
    /// be retried see [`retryable`](Self::retryable).
    ///
    /// # Example
    ///
    /// ```no_run
    /// use sevenhops::{Body, Client};
    ///
    /// /// Passes a download on as an upload, without keeping it.
    /// async fn copy(client: &Client, from: &str, to: &str) -> Result<(), sevenhops::Error> {
    ///     let download = client.get(from).send().await?.error_for_status()?;
    ///     let upload = Body::from_stream(download.bytes_stream());
    ///     client.put(to).body(upload).send().await?.error_for_status()?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// If the stream fails, the call fails at send, and the request is incomplete.
    pub fn from_stream<S, D, E>(stream: S) -> Self
    where
        S: PieceStream<Item = Result<D, E>> + Send + 'static,
        D: Into<Bytes> + 'static,
        E: Into<BoxError> + 'static,
    {
        Self(Content::Stream(Streamed::new(stream).boxed_unsync()))
    }

    /// Creates a stream that can be retried. The client calls this function for a new body before each attempt, and
    /// before each redirect that keeps the body.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use sevenhops::{Body, Client};
    ///
    /// # async fn f() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = Client::builder(Duration::from_secs(60)).build()?;
    /// let length = std::fs::metadata("backup.tar")?.len();
    /// let upload = Body::retryable(|| async { open("backup.tar").await }).with_length(length);
    /// client.put("https://files.test/backup.tar").body(upload).send().await?;
    /// # Ok(()) }
    /// # async fn open(_path: &str) -> std::io::Result<Body> { Ok(Body::empty()) }
    /// ```
    ///
    /// # Length
    ///
    /// The length is that of the body that the function returns, if that is known. If it is not, announce the length
    /// with [`with_length`](Self::with_length). Without a length, HTTP/1 sends the body in chunks.
    ///
    /// # Errors
    ///
    /// If the function fails or panics, the call fails at encode, with no effect of that attempt. The error names
    /// `Body::retryable`, and its source is the function's error. If the function hangs, the attempt's timeout ends
    /// it.
    ///
    /// This holds over [`Transport`](crate::Transport), [`Transport::over`](crate::Transport::over), hyper-util's
    /// client with the parts of this crate, and in reqwest-middleware. A service from another crate creates the body
    /// only when it sends. If the function fails there, the failure is a broken body at send. A body that was
    /// converted to a `reqwest::Body` is sent once. In reqwest-middleware,
    /// `sdk::middleware::with_body` keeps the function.
    ///
    /// # Cancel safety
    ///
    /// Dropping the call drops the function's future, or the body that it created.
    pub fn retryable<F, M, B, E>(make: F) -> Self
    where
        F: Fn() -> M + Send + Sync + 'static,
        M: Future<Output = Result<B, E>> + Send + 'static,
        B: HttpBody + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
        E: Into<BoxError>,
    {
        Self(Content::Made(Box::new(Made::by(make))))
    }

    /// Announces this length. A body that is shorter or longer fails. It fails at encode if its length is known by
    /// then. Otherwise it fails at send, before the last announced byte is sent.
    #[must_use]
    pub fn with_length(self, bytes: u64) -> Self {
        if let Content::Counted(counted) = self.0 {
            // Below the observer, so that it learns the length.
            let counted = counted.map(|source| source.with_length(bytes));
            return Self(Content::Counted(Box::new(counted)));
        }
        let measured = Measured::new(self, Some(bytes));
        Self(Content::Announced(Box::new(measured)))
    }

    /// Calls `observe` whenever the connection takes a piece of the body. The arguments are the bytes taken so far, and
    /// the length of the body if it is known. The last part may still be in the buffers of the connection. Another
    /// attempt counts from the beginning again.
    ///
    /// `observe` must not block: it runs on the task that sends the body. A panic in it is ignored.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use sevenhops::{Body, Client};
    ///
    /// # async fn f(client: Client, backup: Vec<u8>) -> Result<(), sevenhops::Error> {
    /// let upload = Body::from(backup).on_progress(|sent, total| match total {
    ///     Some(total) => println!("{sent} of {total} bytes"),
    ///     None => println!("{sent} bytes"),
    /// });
    /// client.put("https://files.test/backup.tar").body(upload).send().await?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn on_progress(self, observe: impl Fn(u64, Option<u64>) + Send + Sync + 'static) -> Self {
        let progress = Progress::new("Body::on_progress", observe);
        Self(Content::Counted(Box::new(Counted::new(self, progress))))
    }

    /// Calls `moved` whenever a piece of the body is taken. A body in memory is then a stream of parts.
    #[cfg(feature = "reqwest")]
    pub(crate) fn reporting(self, moved: impl Fn() + Send + Sync + 'static) -> Self {
        let progress = Progress::of_attempt(move |_, _| moved());
        Self(Content::Counted(Box::new(Counted::new(self, progress))))
    }

    /// Returns whether the body is in memory.
    #[cfg(feature = "reqwest")]
    pub(crate) const fn is_in_memory(&self) -> bool {
        matches!(self.0, Content::Bytes(_))
    }

    /// Joins bodies to one, in this order.
    pub(crate) fn joined(parts: Vec<Self>) -> Self {
        Self(Content::Joined(Joined::new(parts)))
    }

    /// Returns a body that fails unless it has this length. A body of bytes always knows its length.
    #[cfg(feature = "reqwest")]
    pub(crate) fn measured(self, length: Option<u64>) -> Self {
        match self.0 {
            Content::Bytes(bytes) => Self(Content::Bytes(bytes)),
            content if length.is_none() => Self(content),
            content => {
                let stream = Measured::new(Self(content), length);
                let stream = stream.map_err(|error| BoxError::from(BodyFailed(error)));
                Self(Content::Stream(stream.boxed_unsync()))
            }
        }
    }

    /// Creates the body, if a function creates it, and checks its announced length.
    pub(crate) async fn prepare(&mut self) -> Result<(), Error> {
        let made = poll_fn(|cx| self.poll_made(cx)).await;
        made.map_err(|error| Error::invalid().because(error))?;
        let fits = self.check_length();
        fits.map_err(|reason| Error::invalid().because(reason))
    }

    fn is_prepared(&self) -> bool {
        matches!(self.0, Content::Bytes(_) | Content::Stream(_))
    }

    fn poll_made(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match &mut self.0 {
            Content::Bytes(_) | Content::Stream(_) => Poll::Ready(Ok(())),
            Content::Made(made) => made.poll_made(cx),
            Content::Announced(measured) => measured.source_mut().poll_made(cx),
            Content::Counted(counted) => counted.source_mut().poll_made(cx),
            Content::Joined(joined) => joined.poll_made(cx),
            Content::Gzipped(gzipped) => gzipped.source_mut().poll_made(cx),
        }
    }

    fn check_length(&self) -> Result<(), ReasonText> {
        let measured = match &self.0 {
            Content::Announced(measured) => measured,
            Content::Counted(counted) => return counted.source().check_length(),
            Content::Joined(joined) => return joined.check_length(),
            Content::Gzipped(gzipped) => return gzipped.source().check_length(),
            Content::Bytes(_) | Content::Stream(_) | Content::Made(_) => return Ok(()),
        };
        measured.source().check_length()?;
        let (announced, hint) = (measured.announced(), measured.source().size_hint());
        match (announced, hint.exact()) {
            (Some(announced), Some(exact)) if announced != exact => Err(ReasonText::new(format!(
                "the request body has {exact} bytes, {announced} were announced"
            ))),
            _ => Ok(()),
        }
    }
}

/// Returns the body, if it must be created or checked before it is sent.
pub(crate) fn unprepared<B: HttpBody + 'static>(body: &mut B) -> Option<&mut Body> {
    let body: &mut dyn Any = body;
    let ours = body.downcast_mut::<Body>()?;
    (!ours.is_prepared()).then_some(ours)
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        Self(Content::Bytes(Full::new(bytes.into())))
    }
}

impl CloneBody for Body {
    fn empty_body() -> Option<Self> {
        Some(Self::empty())
    }

    fn has_content(&self) -> bool {
        !self.is_end_stream()
    }

    fn clone_body(&self) -> Option<Self> {
        match &self.0 {
            Content::Bytes(bytes) => Some(Self(Content::Bytes(bytes.clone()))),
            Content::Stream(_) => None,
            Content::Made(made) => Some(Self(Content::Made(Box::new(made.anew())))),
            Content::Announced(measured) => {
                let source = measured.source().clone_body()?;
                let measured = Measured::new(source, measured.announced());
                Some(Self(Content::Announced(Box::new(measured))))
            }
            Content::Counted(counted) => {
                let counted = counted.again(counted.source().clone_body()?);
                Some(Self(Content::Counted(Box::new(counted))))
            }
            Content::Joined(joined) => joined.anew().map(|joined| Self(Content::Joined(joined))),
            Content::Gzipped(gzipped) => gzipped.source().clone_body().map(Self::gzipped),
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Content::Bytes(bytes) => match ready!(Pin::new(bytes).poll_frame(cx)) {
                Some(Ok(frame)) => Poll::Ready(Some(Ok(frame))),
                Some(Err(never)) => match never {},
                None => Poll::Ready(None),
            },
            Content::Stream(stream) => Pin::new(stream).poll_frame(cx),
            Content::Made(made) => made.poll_frame(cx),
            Content::Announced(measured) => Pin::new(&mut **measured).poll_frame(cx),
            Content::Counted(counted) => Pin::new(&mut **counted).poll_frame(cx),
            Content::Joined(joined) => Pin::new(joined).poll_frame(cx),
            Content::Gzipped(gzipped) => Pin::new(&mut **gzipped).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Content::Bytes(bytes) => bytes.is_end_stream(),
            Content::Stream(stream) => stream.is_end_stream(),
            Content::Made(made) => made.is_end_stream(),
            Content::Announced(measured) => measured.is_end_stream(),
            Content::Counted(counted) => counted.is_end_stream(),
            Content::Joined(joined) => joined.is_end_stream(),
            Content::Gzipped(gzipped) => gzipped.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Content::Bytes(bytes) => bytes.size_hint(),
            Content::Stream(stream) => stream.size_hint(),
            Content::Made(made) => made.size_hint(),
            Content::Announced(measured) => match measured.left() {
                // If the announced length were shown, hyper would not poll this body for the bytes that are too many.
                Some(0) if !measured.is_end_stream() => SizeHint::default(),
                Some(left) => SizeHint::with_exact(left),
                None => measured.size_hint(),
            },
            Content::Counted(counted) => counted.size_hint(),
            Content::Joined(joined) => joined.size_hint(),
            Content::Gzipped(gzipped) => gzipped.size_hint(),
        }
    }
}

impl fmt::Debug for Body {
    /// Shows only the size: the bytes may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("bytes", &self.size_hint().exact())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
