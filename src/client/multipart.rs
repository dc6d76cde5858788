//! Forms with files (`multipart/form-data`, RFC 7578).

use std::fmt;

use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};

use super::{Body, RequestBuilder};
use crate::idempotency_key;

/// A form whose fields may be files.
///
/// It can be retried if every part can: text, bytes, or a file through [`Body::retryable`]. Its length is known if the
/// length of every part is.
///
/// # Example
///
/// ```no_run
/// use sevenhops::client::multipart::{Form, Part};
/// use sevenhops::{Body, Client};
///
/// # async fn f(client: Client) -> Result<(), Box<dyn std::error::Error>> {
/// let length = std::fs::metadata("receipt.pdf")?.len();
/// let file = Body::retryable(|| async { std::fs::read("receipt.pdf").map(Body::from) });
/// let receipt = Part::new(file.with_length(length))
///     .file_name("receipt.pdf")
///     .content_type("application/pdf");
/// let form = Form::new().text("charge", "ch_1").part("receipt", receipt);
/// client.post("https://files.test/receipts").multipart(form).send().await?.error_for_status()?;
/// # Ok(()) }
/// ```
#[must_use = "a form does nothing until it is sent"]
pub struct Form {
    parts: Vec<(String, Part)>,
}

impl Form {
    /// Creates a form without fields.
    pub const fn new() -> Self {
        Self { parts: Vec::new() }
    }

    /// Adds a field of text.
    pub fn text(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.part(name, Part::new(value.into()))
    }

    /// Adds a field.
    pub fn part(mut self, name: impl Into<String>, part: Part) -> Self {
        self.parts.push((name.into(), part));
        self
    }

    /// Returns the body of the form.
    fn into_body(self, boundary: &str) -> Result<Body, http::header::InvalidHeaderValue> {
        let mut bodies = Vec::with_capacity(2 * self.parts.len() + 1);
        let mut before = "";
        for (name, part) in self.parts {
            bodies.push(Body::from(format!(
                "{before}{}",
                part.head(&name, boundary)?
            )));
            bodies.push(part.body);
            before = "\r\n";
        }
        bodies.push(Body::from(format!("{before}--{boundary}--\r\n")));
        Ok(Body::joined(bodies))
    }
}

impl Default for Form {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Form {
    /// Leaves names and values out: they may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Form")
            .field("parts", &self.parts.len())
            .finish_non_exhaustive()
    }
}

/// One field of a [`Form`].
#[must_use = "a part does nothing until its form is sent"]
pub struct Part {
    body: Body,
    file_name: Option<String>,
    content_type: Option<String>,
}

impl Part {
    /// Creates a field with this content.
    pub fn new(content: impl Into<Body>) -> Self {
        Self {
            body: content.into(),
            file_name: None,
            content_type: None,
        }
    }

    /// Sets the file name that the server sees. A server treats a field with a file name as a file.
    pub fn file_name(mut self, name: impl Into<String>) -> Self {
        self.file_name = Some(name.into());
        self
    }

    /// Sets the content type, for example `application/pdf`. An invalid one is refused at encode.
    pub fn content_type(mut self, kind: impl Into<String>) -> Self {
        self.content_type = Some(kind.into());
        self
    }

    fn head(&self, name: &str, boundary: &str) -> Result<String, http::header::InvalidHeaderValue> {
        let mut head = format!(
            "--{boundary}\r\ncontent-disposition: form-data; name=\"{}\"",
            quoted(name)
        );
        if let Some(file_name) = &self.file_name {
            head.push_str(&format!("; filename=\"{}\"", quoted(file_name)));
        }
        if let Some(kind) = &self.content_type {
            HeaderValue::from_str(kind)?;
            head.push_str("\r\ncontent-type: ");
            head.push_str(kind);
        }
        head.push_str("\r\n\r\n");
        Ok(head)
    }
}

impl fmt::Debug for Part {
    /// Shows only the size: the rest may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part")
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

impl RequestBuilder {
    /// Sets the body to a form with files, and the content type with it. See [`Form`].
    pub fn multipart(self, form: Form) -> Self {
        // Random, so that no content can hold it on purpose.
        let boundary = idempotency_key::random().simple().to_string();
        let kind = HeaderValue::try_from(format!("multipart/form-data; boundary={boundary}"));
        match (form.into_body(&boundary), kind) {
            (Ok(body), Ok(kind)) => {
                let headers = HeaderMap::from_iter([(CONTENT_TYPE, kind)]);
                self.headers(headers).body(body)
            }
            (Err(error), _) | (_, Err(error)) => self.reject(error),
        }
    }
}

/// Escapes a name for its quotes, as browsers do (WHATWG HTML, section 4.10.21.8). Other text stays as it is: UTF-8
/// (RFC 7578 §5.1).
fn quoted(name: &str) -> String {
    name.replace('"', "%22")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn form_is_written_as_rfc_7578_shows_it() {
        let form = Form::new()
            .text("a \"b\"\r\nx: y", "caf\u{e9}")
            .part(
                "file",
                Part::new("%PDF")
                    .file_name("caf\u{e9}.pdf")
                    .content_type("application/pdf"),
            )
            .text("", "");
        let body = form.into_body("B").unwrap();
        let length = http_body::Body::size_hint(&body).exact();
        let written = body.collect().await.unwrap().to_bytes();
        assert_eq!(length, Some(written.len() as u64));
        let expected = "--B\r\ncontent-disposition: form-data; name=\"a %22b%22%0D%0Ax: y\"\r\n\r\ncaf\u{e9}\r\n\
                        --B\r\ncontent-disposition: form-data; name=\"file\"; filename=\"caf\u{e9}.pdf\"\r\n\
                        content-type: application/pdf\r\n\r\n%PDF\r\n\
                        --B\r\ncontent-disposition: form-data; name=\"\"\r\n\r\n\r\n--B--\r\n";
        assert_eq!(written, expected);
        let empty = Form::new().into_body("B").unwrap().collect().await.unwrap();
        assert_eq!(empty.to_bytes(), "--B--\r\n");
    }

    #[test]
    fn content_type_cannot_add_a_header() {
        let part = Part::new("x").content_type("text/plain\r\nx: y");
        assert!(Form::new().part("a", part).into_body("B").is_err());
    }
}
