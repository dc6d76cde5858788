//! A body whose bytes are counted on their way.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::joined::sum;
use crate::callback::{self, Site};

/// The user's observer, behind `catch_unwind`.
pub(crate) struct Progress {
    site: Site,
    observe: Box<Observe>,
}

type Observe = dyn Fn(u64, Option<u64>) + Send + Sync;

impl Progress {
    pub(crate) fn new(
        name: &'static str,
        observe: impl Fn(u64, Option<u64>) + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            site: Site::new(name),
            observe: Box::new(observe),
        })
    }

    /// Creates the observer by which a body reports to its attempt. It does not panic.
    #[cfg(feature = "reqwest")]
    pub(crate) fn of_attempt(
        observe: impl Fn(u64, Option<u64>) + Send + Sync + 'static,
    ) -> Arc<Self> {
        Self::new("attempt", observe)
    }
}

/// Reports the number of bytes after each piece, and passes long pieces on in parts.
pub(crate) struct Counted<B> {
    source: B,
    progress: Arc<Progress>,
    passed: u64,
    total: Option<u64>,
    /// The rest of a long piece.
    rest: Bytes,
}

impl<B: HttpBody<Data = Bytes> + Unpin> Counted<B> {
    pub(crate) const fn new(source: B, progress: Arc<Progress>) -> Self {
        Self {
            source,
            progress,
            passed: 0,
            total: None,
            rest: Bytes::new(),
        }
    }

    pub(super) const fn source(&self) -> &B {
        &self.source
    }

    pub(super) const fn source_mut(&mut self) -> &mut B {
        &mut self.source
    }

    /// Returns another body with the same observer, counted from its beginning.
    pub(super) fn again(&self, source: B) -> Self {
        Self::new(source, Arc::clone(&self.progress))
    }

    /// Changes the body before it is read.
    pub(super) fn map(self, change: impl FnOnce(B) -> B) -> Self {
        Self::new(change(self.source), self.progress)
    }

    /// Returns the next part of the rest, and reports it.
    fn pass(&mut self) -> Bytes {
        let part = self.rest.split_to(self.rest.len().min(PART_BYTES));
        if !part.is_empty() {
            self.passed = self.passed.saturating_add(part.len() as u64);
            let (passed, total) = (self.passed, self.total);
            let Progress { site, observe } = &*self.progress;
            callback::observe(site, || observe(passed, total));
        }
        part
    }
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for Counted<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        if this.rest.is_empty() {
            if this.total.is_none() {
                // A body that a function creates knows its length once it is there.
                let left = this.source.size_hint().exact();
                this.total = left.map(|left| left.saturating_add(this.passed));
            }
            let frame = ready!(Pin::new(&mut this.source).poll_frame(cx));
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(piece))) => this.rest = piece,
                Some(Ok(Err(other))) => return Poll::Ready(Some(Ok(other))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        Poll::Ready(Some(Ok(Frame::data(this.pass()))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.source.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = SizeHint::with_exact(self.rest.len() as u64);
        sum(rest, self.source.size_hint())
    }
}

/// The connection takes a part only when it has sent most of the one before. Longer parts would report too early.
const PART_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Mutex;

    use http_body_util::{BodyExt, Full};

    use super::*;

    type Report = (u64, Option<u64>);

    /// Returns the reports and the lengths of the parts of a body of bytes.
    async fn passed(bytes: &'static [u8]) -> (Vec<Report>, Vec<usize>) {
        let reports = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&reports);
        let progress = Progress::new("Test::on_progress", move |passed, total| {
            heard.lock().unwrap().push((passed, total));
        });
        let mut body = Counted::new(Full::new(Bytes::from_static(bytes)), progress);
        let mut parts = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame: Result<_, Infallible> = frame;
            parts.push(frame.unwrap().into_data().unwrap().len());
            let sent: usize = parts.iter().sum();
            let left = (bytes.len() - sent) as u64;
            assert_eq!(body.size_hint().exact(), Some(left));
            assert_eq!(body.is_end_stream(), left == 0);
        }
        let reports = reports.lock().unwrap().clone();
        (reports, parts)
    }

    #[tokio::test]
    async fn long_piece_is_passed_and_reported_in_parts() {
        static LONG: [u8; 2 * PART_BYTES + 1] = [b'x'; 2 * PART_BYTES + 1];
        let (part, total) = (PART_BYTES as u64, Some(LONG.len() as u64));
        let (reports, parts) = passed(&LONG).await;
        assert_eq!(parts, [PART_BYTES, PART_BYTES, 1]);
        let expected = [(part, total), (2 * part, total), (2 * part + 1, total)];
        assert_eq!(reports, expected);
        assert_eq!(passed(b"hello").await, (vec![(5, Some(5))], vec![5]));
        assert_eq!(passed(b"").await, (vec![], vec![]));
    }
}
