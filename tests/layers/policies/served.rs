//! A service whose responses have bodies in pieces, and trailers.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use tower::util::BoxCloneService;
use tower::{ServiceExt, service_fn};

/// A piece of a body.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    Data(Bytes),
    Trailer(&'static str, &'static str),
    Broken,
    /// Nothing follows, and the body does not end.
    Hang,
    /// The body ends, and one of its announced bytes has not come.
    EndsEarly,
}

/// A response: status, headers and body.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<Piece>,
}

pub(crate) fn answer(status: u16, body: impl Into<Bytes>) -> Answer {
    Answer {
        status,
        headers: Vec::new(),
        body: vec![Piece::Data(body.into())],
    }
}

/// The body of a response.
pub(crate) struct Pieces(VecDeque<Piece>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(match self.0.pop_front() {
            None => None,
            Some(Piece::Data(bytes)) => Some(Ok(Frame::data(bytes))),
            Some(Piece::Trailer(name, value)) => {
                let name = HeaderName::from_static(name);
                let value = HeaderValue::from_static(value);
                Some(Ok(Frame::trailers(HeaderMap::from_iter([(name, value)]))))
            }
            Some(Piece::Broken) => Some(Err(io::ErrorKind::ConnectionReset.into())),
            Some(Piece::EndsEarly) => {
                self.0.push_front(Piece::EndsEarly);
                None
            }
            Some(Piece::Hang) => {
                self.0.push_front(Piece::Hang);
                return Poll::Pending;
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::default();
        hint.set_lower(match self.0.front() {
            Some(Piece::EndsEarly) => 1,
            _ => 0,
        });
        hint
    }
}

/// Serves these responses one after another, then empty 200s. Counts the requests.
pub(crate) fn serving(answers: impl IntoIterator<Item = Answer>) -> (Service, Arc<Mutex<u32>>) {
    let answers: Arc<Mutex<VecDeque<_>>> = Arc::new(Mutex::new(answers.into_iter().collect()));
    let count = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&count);
    let service = service_fn(move |_request: Request<Full<Bytes>>| {
        *counter.lock().unwrap() += 1;
        let next = answers.lock().unwrap().pop_front();
        let next = next.unwrap_or_else(|| answer(200, ""));
        let mut response = Response::builder().status(next.status);
        for (name, value) in next.headers {
            response = response.header(name, value);
        }
        std::future::ready(Ok::<_, Infallible>(
            response.body(Pieces(next.body.into())).unwrap(),
        ))
    });
    (service.boxed_clone(), count)
}

pub(crate) type Service = BoxCloneService<Request<Full<Bytes>>, Response<Pieces>, Infallible>;
