//! Compression of request bodies.

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderValue};

use super::RequestBuilder;
use crate::coding::Coding;

impl RequestBuilder {
    /// Compresses the body with gzip, if it has at least `min_bytes` or an unknown length. The request gets
    /// `Content-Encoding: gzip` (RFC 9110 §8.4).
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn f(client: sevenhops::Client, events: Vec<String>) -> Result<(), sevenhops::Error> {
    /// let batch = client.post("https://collect.test/v1/events").json(&events);
    /// batch.gzip_body(1_024).send().await?.error_for_status()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Defaults
    ///
    /// | body | what is sent |
    /// |---|---|
    /// | none, or known to have fewer than `min_bytes` | the body as it is |
    /// | at most 256 KiB in memory | compressed at once, with its length; as it is if it would not get shorter |
    /// | larger, or a stream | compressed in pieces while it is sent, without a length |
    /// | any, if the request or the client's default headers set `Content-Encoding` | the body as it is |
    ///
    /// A `Content-Length` that you set is checked against the body, and not sent. A body can be retried if it could be
    /// without compression. While a stream waits for its next piece, the pieces so far are sent.
    ///
    /// # Trade-offs
    ///
    /// The compression takes time on the task that sends. It is fast rather than thorough. A stream is compressed again
    /// for each attempt.
    ///
    /// # How people get it wrong
    ///
    /// - The server does not decode requests. There is no negotiation before the first request: a server that does not
    ///   know the coding responds 415 (RFC 9110 §15.5.16), or reads garbage. Read its documentation.
    /// - A signature or `Content-Digest` that you set covers the body before the compression.
    /// - [`Body::on_progress`](crate::Body::on_progress) counts the bytes before the compression.
    pub fn gzip_body(mut self, min_bytes: u64) -> Self {
        self.gzip = Some(min_bytes);
        self
    }

    /// Compresses the body, if the request asks for that.
    pub(super) fn compress(&mut self) {
        let defaults = &self.client.0.headers;
        let is_encoded =
            [&self.headers, defaults].map(|headers| headers.contains_key(CONTENT_ENCODING));
        let Some(min_bytes) = self.gzip.filter(|_| is_encoded == [false, false]) else {
            return;
        };
        let (body, is_gzip) = std::mem::take(&mut self.body).gzip(min_bytes);
        self.body = body;
        if is_gzip {
            self.headers.remove(CONTENT_LENGTH);
            let coding = HeaderValue::from_static(Coding::Gzip.name());
            self.headers.insert(CONTENT_ENCODING, coding);
        }
    }
}
