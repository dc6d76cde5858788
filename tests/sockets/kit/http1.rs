use std::io::ErrorKind;

use bytes::Bytes;
use http::{Method, StatusCode, Version};
use sevenhops::testing::{CannedResponse, FaultServer, Gate, Reply};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::client::{GET, POST, connect, exchange, read_to_end, read_until};

#[tokio::test]
async fn a_kept_connection_serves_several_requests() {
    let server = server([]).await;
    let mut client = connect(&server).await;

    for _ in 0..2 {
        client.write_all(POST.as_bytes()).await.unwrap();
        let answer = read_until(&mut client, r#"{"ok":true}"#).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"));
        assert!(answer.contains("content-type: application/json\r\n"));
    }

    let seen = &server.requests()[1];
    assert_eq!(
        (&seen.method, seen.version),
        (&Method::POST, Version::HTTP_11)
    );
    assert_eq!(
        (seen.target.as_str(), seen.path()),
        ("/v1/charges?x=1", "/v1/charges")
    );
    assert_eq!((&seen.body[..], seen.body_complete), (&b"body"[..], true));
    assert_eq!((seen.connection, server.connections()), (1, 1));
    assert_eq!(server.stats().given_up, 0);
}

#[tokio::test]
async fn replies_are_used_in_order_then_the_default_applies() {
    let teapot = CannedResponse::new(StatusCode::IM_A_TEAPOT).header("retry-after", "2");
    let server = server([teapot.into()]).await;
    server.default_reply(CannedResponse::new(StatusCode::NO_CONTENT));
    let mut client = connect(&server).await;

    client.write_all(GET.as_bytes()).await.unwrap();
    let first = read_until(&mut client, "\r\n\r\n").await;
    assert_eq!(
        first,
        "HTTP/1.1 418 I'm a teapot\r\nretry-after: 2\r\ncontent-length: 0\r\n\r\n"
    );
    client.write_all(GET.as_bytes()).await.unwrap();
    let second = read_until(&mut client, "\r\n\r\n").await;
    assert_eq!(second, "HTTP/1.1 204 No Content\r\n\r\n");
}

#[tokio::test]
async fn a_response_can_come_in_chunks() {
    let server = server([CannedResponse::json("[1]").chunked().into()]).await;
    let mut client = connect(&server).await;

    client.write_all(GET.as_bytes()).await.unwrap();

    let answer = read_until(&mut client, "0\r\n\r\n").await;
    assert!(answer.contains("transfer-encoding: chunked\r\n"));
    assert!(answer.ends_with("\r\n\r\n3\r\n[1]\r\n0\r\n\r\n"));
}

#[tokio::test]
async fn a_held_body_waits_for_its_gate() {
    let gate = Gate::new();
    let server = server([CannedResponse::default().hold_body(&gate).into()]).await;
    let mut client = connect(&server).await;
    client.write_all(GET.as_bytes()).await.unwrap();

    read_until(&mut client, "\r\n\r\n").await;
    gate.open();

    assert_eq!(read_until(&mut client, "}").await, r#"{"ok":true}"#);
}

#[tokio::test]
async fn silence_reads_the_request_and_notices_that_it_was_given_up() {
    let server = server([Reply::Silent]).await;
    let mut client = connect(&server).await;
    client.write_all(POST.as_bytes()).await.unwrap();
    server.wait_until(|stats| stats.bodies == 1).await;

    drop(client);

    server
        .wait_until(|stats| stats.given_up == 1 && stats.open_connections == 0)
        .await;
}

#[tokio::test]
async fn a_request_given_up_midway_stays_incomplete() {
    let server = server([]).await;
    let mut client = connect(&server).await;
    client
        .write_all(&POST.as_bytes()[..POST.len() - 2])
        .await
        .unwrap();
    server.wait_until(|stats| stats.requests == 1).await;

    drop(client);

    server.wait_until(|stats| stats.given_up == 1).await;
    let seen = &server.requests()[0];
    assert_eq!((&seen.body[..], seen.body_complete), (&b"bo"[..], false));
}

#[tokio::test]
async fn a_server_that_stops_reading_fills_the_pipe() {
    let server = server([Reply::StopReading]).await;
    let mut client = connect(&server).await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 104857600\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    server.wait_until(|stats| stats.requests == 1).await;

    let mebibyte = vec![0; 1 << 20];
    let mut sent = 0;
    let patience = std::time::Duration::from_millis(100);
    while let Ok(written) = tokio::time::timeout(patience, client.write(&mebibyte)).await {
        sent += written.unwrap();
    }

    assert!(sent < 10 << 20, "{sent} bytes went out");
    assert_eq!(server.requests()[0].body, "");
}

#[tokio::test]
async fn a_reset_can_interrupt_the_body() {
    let server = server([Reply::ResetWhileReading]).await;
    let mut client = connect(&server).await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\nfirst";
    client.write_all(head.as_bytes()).await.unwrap();

    let error = read_to_end(&mut client).await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let seen = &server.requests()[0];
    assert_eq!((&seen.body[..], seen.body_complete), (&b"first"[..], false));
}

#[tokio::test]
async fn a_reset_after_the_request_differs_from_a_close() {
    let server = server([Reply::ResetAfterRequest, Reply::CloseAfterRequest]).await;

    let reset = exchange(&server, POST).await.unwrap_err();
    let closed = exchange(&server, POST).await.unwrap();

    assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
    assert_eq!(closed, "");
    assert!(server.requests().iter().all(|seen| seen.body_complete));
    assert_eq!(server.stats().given_up, 0);
}

#[tokio::test]
async fn a_kept_connection_closes_on_the_next_request() {
    let server = server([Reply::CloseOnNextRequest(CannedResponse::default())]).await;
    let mut client = connect(&server).await;
    client.write_all(GET.as_bytes()).await.unwrap();
    read_until(&mut client, r#"{"ok":true}"#).await;

    client.write_all(POST.as_bytes()).await.unwrap();

    assert_eq!(read_to_end(&mut client).await.unwrap(), "");
    assert_eq!(server.requests_seen(), 1);
}

#[tokio::test]
async fn a_connection_closes_after_a_response_that_promised_keep_alive() {
    let server = server([Reply::AnswerThenClose(CannedResponse::default())]).await;

    let answer = exchange(&server, GET).await.unwrap();

    assert!(answer.ends_with(r#"{"ok":true}"#) && !answer.contains("connection:"));
}

#[tokio::test]
async fn garbage_is_not_a_status_line() {
    let server = server([Reply::garbage()]).await;

    let answer = exchange(&server, POST).await.unwrap();

    assert!(answer.starts_with("GARBAGE"));
}

#[tokio::test]
async fn a_body_stalls_is_truncated_or_reset() {
    let sent = Bytes::from_static(b"half");
    let truncate = Reply::TruncateBody {
        declared: 100,
        sent: sent.clone(),
    };
    let stall = Reply::StallInBody {
        declared: 100,
        sent,
    };
    let server = server([truncate, Reply::ResetInBody, stall]).await;

    let truncated = exchange(&server, GET).await.unwrap();
    assert!(truncated.contains("content-length: 100\r\n") && truncated.ends_with("\r\n\r\nhalf"));

    let mut client = connect(&server).await;
    client.write_all(GET.as_bytes()).await.unwrap();
    read_until(&mut client, "\r\n\r\n{").await;
    let error = read_to_end(&mut client).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);

    let mut client = connect(&server).await;
    client.write_all(GET.as_bytes()).await.unwrap();
    read_until(&mut client, "\r\n\r\nhalf").await;
    drop(client);
    server.wait_until(|stats| stats.given_up == 1).await;
}

#[tokio::test]
async fn an_early_response_comes_before_the_end_of_the_body() {
    let too_large = CannedResponse::new(StatusCode::PAYLOAD_TOO_LARGE);
    let server = server([Reply::EarlyAnswer(too_large)]).await;
    let mut client = connect(&server).await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 20971520\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();

    let answer = read_to_end(&mut client).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 Payload Too Large\r\nconnection: close\r\n"));

    client.write_all(&vec![0; 20 << 20]).await.unwrap();
    assert!(!server.requests()[0].body_complete);
}

#[tokio::test]
async fn a_request_without_a_fault_is_forwarded_upstream() {
    let upstream = server([CannedResponse::json(r#"{"up":1}"#)
        .header("x-up", "1")
        .into()])
    .await;
    let builder = FaultServer::builder().upstream(upstream.addr());
    let server = builder.start().await.unwrap();
    let mut client = connect(&server).await;

    client.write_all(POST.as_bytes()).await.unwrap();

    let answer = read_until(&mut client, r#"{"up":1}"#).await;
    assert!(answer.contains("x-up: 1\r\n"));
    let (here, there) = (&server.requests()[0], &upstream.requests()[0]);
    assert_eq!((&here.target, &here.body), (&there.target, &there.body));
    assert_eq!(there.headers["host"], "a");
}

#[tokio::test]
async fn a_missing_upstream_is_a_bad_gateway() {
    let server = server([Reply::Upstream]).await;
    let mut client = connect(&server).await;

    client.write_all(GET.as_bytes()).await.unwrap();

    let answer = read_until(&mut client, "\r\n").await;
    assert_eq!(answer, "HTTP/1.1 502 Bad Gateway\r\n");
    let mut rest = vec![0; 64];
    assert!(client.read(&mut rest).await.unwrap() > 0);
}

async fn server<const N: usize>(replies: [Reply; N]) -> FaultServer {
    let server = FaultServer::builder().start().await.unwrap();
    server.on_request(replies);
    server
}
