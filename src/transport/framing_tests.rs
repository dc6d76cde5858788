use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::HeaderName;
use http_body::Frame;

use super::*;

/// A body with this size hint.
struct Sized(SizeHint);

impl Body for Sized {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }

    fn size_hint(&self) -> SizeHint {
        self.0
    }
}

fn exact(bytes: u64) -> SizeHint {
    SizeHint::with_exact(bytes)
}

fn between(least: u64, most: u64) -> SizeHint {
    let mut hint = SizeHint::new();
    hint.set_upper(most);
    hint.set_lower(least);
    hint
}

fn check(
    version: Version,
    lines: &[(&'static str, &'static str)],
    size: SizeHint,
) -> Result<Option<u64>, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    announced(version, &headers, &Sized(size)).map_err(|reason| reason.to_string())
}

const CL: &str = "content-length";
const TE: &str = "transfer-encoding";

#[test]
fn manual_length_has_to_be_that_of_the_body() {
    for (value, size, expected) in [
        ("6", exact(6), Ok(Some(6))),
        ("0", exact(0), Ok(Some(0))),
        ("6", SizeHint::new(), Ok(Some(6))),
        ("6", between(1, 9), Ok(Some(6))),
        (
            "3",
            exact(6),
            Err("content-length says 3, the body has 6 bytes"),
        ),
        (
            "9",
            exact(6),
            Err("content-length says 9, the body has 6 bytes"),
        ),
        (
            "5",
            exact(0),
            Err("content-length says 5, the body has 0 bytes"),
        ),
        (
            "0",
            exact(1),
            Err("content-length says 0, the body has 1 byte"),
        ),
        (
            "3",
            between(6, 9),
            Err("content-length says 3, the body has at least 6 bytes"),
        ),
        (
            "10",
            between(6, 9),
            Err("content-length says 10, the body has at most 9 bytes"),
        ),
    ] {
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let checked = check(version, &[(CL, value)], size);
            assert_eq!(checked, expected.map_err(str::to_owned), "{value} {size:?}");
        }
    }
    assert_eq!(check(Version::HTTP_11, &[], exact(6)), Ok(Some(6)));
    assert_eq!(check(Version::HTTP_11, &[], SizeHint::new()), Ok(None));
}

#[test]
fn length_that_is_not_one_number_is_refused() {
    for value in [
        "",
        " ",
        "+6",
        "-6",
        "6.0",
        "0x6",
        "6, 6",
        "six",
        "6 6",
        "18446744073709551616",
    ] {
        let refused = check(Version::HTTP_11, &[(CL, value)], exact(6)).unwrap_err();
        assert_eq!(
            refused, "content-length is not a number of bytes",
            "{value}"
        );
    }
    for second in ["6", "7"] {
        let lines = [(CL, "6"), (CL, second)];
        let refused = check(Version::HTTP_11, &lines, exact(6)).unwrap_err();
        assert_eq!(refused, "content-length is set more than once");
    }
}

#[test]
fn transfer_encoding_is_refused_where_the_client_cannot_send_it() {
    const HTTP_1: Version = Version::HTTP_11;
    let unknown = SizeHint::new;
    for (version, lines, size, expected) in [
        (HTTP_1, &[(TE, "chunked")][..], unknown(), None),
        (HTTP_1, &[(TE, "Chunked")], unknown(), None),
        (HTTP_1, &[(TE, "chunked")], exact(6), Some("the length")),
        (HTTP_1, &[(TE, "chunked")], exact(0), Some("the length")),
        (HTTP_1, &[(TE, "gzip, chunked")], unknown(), Some("only")),
        (HTTP_1, &[(TE, "gzip")], exact(6), Some("only")),
        (HTTP_1, &[(TE, "identity")], unknown(), Some("only")),
        (HTTP_1, &[(TE, "")], unknown(), Some("only")),
        (
            HTTP_1,
            &[(TE, "chunked"), (TE, "chunked")],
            unknown(),
            Some("only"),
        ),
        (
            HTTP_1,
            &[(TE, "chunked"), (CL, "6")],
            unknown(),
            Some("content-length is set, too"),
        ),
        (
            Version::HTTP_2,
            &[(TE, "chunked")],
            unknown(),
            Some("HTTP/2"),
        ),
    ] {
        let refused = check(version, lines, size).err();
        let expected = expected.map(|why| format!("transfer-encoding must be removed: {why}"));
        let as_expected = match (&refused, &expected) {
            (None, None) => true,
            (Some(refused), Some(expected)) => refused.starts_with(expected),
            _ => false,
        };
        assert!(as_expected, "{lines:?}: {refused:?}");
    }
}

#[test]
fn body_that_is_at_its_end_has_no_bytes_whatever_it_says_of_its_length() {
    struct Ended;
    impl Body for Ended {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(None)
        }
        fn is_end_stream(&self) -> bool {
            true
        }
    }
    let headers = HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from_static("5"))]);
    let refused = announced(Version::HTTP_11, &headers, &Ended).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "content-length says 5, the body has 0 bytes"
    );
}
