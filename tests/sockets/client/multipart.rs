//! Forms with files.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use sevenhops::client::multipart::{Form, Part};
use sevenhops::testing::{CannedResponse, FaultServer, RecordedRequest};
use sevenhops::{Body, Effect, Hop, Kind};

use crate::net::{Net, url};

/// Returns the form that a server should have received with the text `ch_1` and the file `hello`.
fn expected(seen: &RecordedRequest) -> String {
    let kind = seen.headers[CONTENT_TYPE].to_str().unwrap();
    let boundary = kind.strip_prefix("multipart/form-data; boundary=").unwrap();
    format!(
        "--{boundary}\r\ncontent-disposition: form-data; name=\"charge\"\r\n\r\nch_1\r\n\
         --{boundary}\r\ncontent-disposition: form-data; name=\"receipt\"; filename=\"receipt.txt\"\r\n\
         content-type: text/plain\r\n\r\nhello\r\n--{boundary}--\r\n"
    )
}

fn form(file: Body) -> Form {
    let receipt = Part::new(file)
        .file_name("receipt.txt")
        .content_type("text/plain");
    Form::new().text("charge", "ch_1").part("receipt", receipt)
}

/// Returns a file, and the number of times it was opened.
fn file() -> (Arc<AtomicU32>, Body) {
    let opened = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&opened);
    let file = Body::retryable(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        async { Ok::<_, io::Error>(Body::from("hello")) }
    });
    (opened, file)
}

#[tokio::test]
async fn form_with_a_file_is_retried_with_its_length() {
    let net = Net::new().await;
    let plain = FaultServer::builder().start().await.unwrap();
    let http2 = net.http2().await;
    for (server, url) in [
        (&plain, url(&plain, "http")),
        (&http2, url(&http2, "https")),
    ] {
        let (opened, file) = file();
        server.on_request([CannedResponse::new(StatusCode::SERVICE_UNAVAILABLE).into()]);
        let put = net.client().put(&url).multipart(form(file.with_length(5)));
        let response = put.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let seen = server.requests();
        assert_eq!((seen.len(), opened.load(Ordering::Relaxed)), (2, 2));
        for seen in &seen {
            let expected = expected(seen);
            assert_eq!(seen.body, expected);
            assert_eq!(seen.headers[CONTENT_LENGTH], expected.len().to_string());
        }
    }
}

#[tokio::test]
async fn each_form_has_its_own_boundary_and_replaces_the_content_type() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    for _ in 0..2 {
        let post = net.client().post(url(&server, "http"));
        let post = post.header("content-type", "multipart/form-data");
        post.multipart(form(Body::from("hello")))
            .send()
            .await
            .unwrap();
    }
    let seen = server.requests();
    assert_ne!(seen[0].headers[CONTENT_TYPE], seen[1].headers[CONTENT_TYPE]);
    for seen in &seen {
        assert_eq!(seen.headers.get_all(CONTENT_TYPE).iter().count(), 1);
        assert_eq!(seen.body, expected(seen));
    }
}

#[tokio::test]
async fn part_of_another_length_or_with_a_bad_content_type_fails_before_it_is_sent() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let bad = Form::new().part("a", Part::new("x").content_type("text/plain\r\nx: y"));
    for form in [
        form(file().1.with_length(4)),
        form(Body::from("hello").with_length(6)),
        bad,
    ] {
        let post = net.client().post(url(&server, "http")).multipart(form);
        let error = post.send().await.unwrap_err();
        assert_eq!(
            (error.hop(), error.kind(), error.effect()),
            (Some(Hop::Encode), Kind::InvalidRequest, Effect::None)
        );
    }
    assert_eq!(server.requests_seen(), 0);
}
