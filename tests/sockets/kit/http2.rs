use bytes::Bytes;
use h2::Reason;
use http::{Method, Request, StatusCode, Version};
use sevenhops::testing::{CannedResponse, ConnFault, FaultServer, Gate, Reply};

use super::client::{body, connect, http2, http2_server, post};

#[tokio::test]
async fn a_request_is_recorded_and_gets_a_response() {
    let server = http2_server().await;
    let client = http2(connect(&server).await).await;

    let response = post(&client, b"body").await.await.unwrap();

    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(body(response).await.unwrap(), r#"{"ok":true}"#);
    let seen = &server.requests()[0];
    assert_eq!(
        (&seen.method, seen.version),
        (&Method::POST, Version::HTTP_2)
    );
    assert_eq!(
        (seen.path(), &seen.headers["host"]),
        ("/v1/charges", &"api.test".parse().unwrap())
    );
    assert_eq!((&seen.body[..], seen.body_complete), (&b"body"[..], true));
    assert_eq!(server.stats().given_up, 0);
}

#[tokio::test]
async fn a_response_larger_than_the_window_arrives_completely() {
    let server = server([CannedResponse::new(StatusCode::OK)
        .body(vec![7; 1 << 20])
        .into()])
    .await;
    let client = http2(connect(&server).await).await;

    let mut stream = post(&client, b"").await.await.unwrap().into_body();

    let mut length = 0;
    while let Some(data) = stream.data().await {
        let size = data.unwrap().len();
        length += size;
        stream.flow_control().release_capacity(size).unwrap();
    }
    assert_eq!(length, 1 << 20);
}

#[tokio::test]
async fn a_stream_reset_before_the_head_leaves_other_streams_open() {
    let reasons = [
        Reason::REFUSED_STREAM,
        Reason::CANCEL,
        Reason::INTERNAL_ERROR,
    ];
    let server = server(reasons.map(Reply::ResetStream)).await;
    let client = http2(connect(&server).await).await;

    for reason in reasons {
        let error = post(&client, b"body").await.await.unwrap_err();
        assert!(error.is_reset() && error.is_remote());
        assert_eq!(error.reason(), Some(reason));
    }

    assert!(post(&client, b"body").await.await.is_ok());
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_stream_is_reset_after_its_head() {
    let server = server([Reply::ResetStreamInBody(Reason::INTERNAL_ERROR)]).await;
    let client = http2(connect(&server).await).await;

    let response = post(&client, b"body").await.await.unwrap();

    assert_eq!(response.headers()["content-length"], "100");
    let error = body(response).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
}

#[tokio::test]
async fn a_go_away_below_the_stream_leaves_it_unprocessed() {
    let server = server([Reply::GoAwayBelow(Reason::ENHANCE_YOUR_CALM)]).await;
    let client = http2(connect(&server).await).await;

    let error = post(&client, b"body").await.await.unwrap_err();

    assert!(error.is_go_away() && error.is_remote());
    assert_eq!(error.reason(), Some(Reason::ENHANCE_YOUR_CALM));
    assert!(server.requests()[0].body_complete);
}

#[tokio::test]
async fn a_go_away_below_the_stream_keeps_the_earlier_one() {
    let gate = Gate::new();
    let held = CannedResponse::default().hold_body(&gate).into();
    let server = server([held, Reply::GoAwayBelow(Reason::NO_ERROR)]).await;
    let client = http2(connect(&server).await).await;
    let first = post(&client, b"one").await.await.unwrap();

    let error = post(&client, b"two").await.await.unwrap_err();

    assert!(error.is_go_away());
    let error = body(first).await.unwrap_err();
    assert!(error.is_io(), "it ends with the connection: {error}");
}

#[tokio::test]
async fn a_go_away_at_the_stream_claims_it_without_a_response() {
    let server = server([Reply::GoAwayAtOrAbove]).await;
    let client = http2(connect(&server).await).await;

    let error = post(&client, b"body").await.await.unwrap_err();

    assert!(error.is_io(), "{error}");
}

#[tokio::test]
async fn connection_faults_hit_every_version() {
    use Reply::{CloseAfterRequest, ResetAfterRequest, ResetWhileReading};
    let server = server([CloseAfterRequest, ResetAfterRequest, ResetWhileReading]).await;

    for _ in 0..3 {
        let client = http2(connect(&server).await).await;
        let error = post(&client, b"body").await.await.unwrap_err();
        assert!(error.is_io(), "{error}");
    }
}

#[tokio::test]
async fn garbage_is_not_a_frame() {
    let server = server([Reply::garbage()]).await;
    let client = http2(connect(&server).await).await;

    let error = post(&client, b"body").await.await.unwrap_err();

    assert_eq!(error.reason(), Some(Reason::FRAME_SIZE_ERROR));
}

#[tokio::test]
async fn a_body_is_truncated_by_the_connection() {
    let sent = Bytes::from_static(b"half");
    let server = server([
        Reply::TruncateBody {
            declared: 100,
            sent,
        },
        Reply::ResetInBody,
    ])
    .await;

    for _ in 0..2 {
        let client = http2(connect(&server).await).await;
        let response = post(&client, b"body").await.await.unwrap();
        assert_eq!(response.headers()["content-length"], "100");
        assert!(body(response).await.unwrap_err().is_io());
    }
}

#[tokio::test]
async fn a_stream_given_up_is_noticed() {
    let sent = Bytes::from_static(b"half");
    let stall = Reply::StallInBody {
        declared: 100,
        sent,
    };
    let server = server([Reply::Silent, Reply::StopReading, stall]).await;
    let client = http2(connect(&server).await).await;

    drop(post(&client, b"body").await);
    drop(post(&client, b"body").await);
    drop(post(&client, b"body").await.await);

    server.wait_until(|stats| stats.given_up == 3).await;
    assert_eq!(server.open_connections(), 1);
}

#[tokio::test]
async fn a_stream_that_is_not_read_keeps_its_window_closed() {
    let server = server([Reply::StopReading]).await;
    let mut client = http2(connect(&server).await).await.ready().await.unwrap();
    let request = Request::post("http://api.test/").body(()).unwrap();
    let (_response, mut stream) = client.send_request(request, false).unwrap();
    server.wait_until(|stats| stats.requests == 1).await;

    stream.send_data(vec![0; 1 << 20].into(), true).unwrap();

    assert!(
        post(&client, &[1; 1000]).await.await.is_ok(),
        "the neighbor goes on"
    );
    assert_eq!(server.requests()[0].body, "");
    assert!(!server.requests()[0].body_complete);
}

#[tokio::test]
async fn an_early_response_ends_only_its_stream() {
    let too_large = CannedResponse::new(StatusCode::PAYLOAD_TOO_LARGE).body("no");
    let server = server([Reply::EarlyAnswer(too_large)]).await;
    let mut client = http2(connect(&server).await).await.ready().await.unwrap();
    let request = Request::post("http://api.test/").body(()).unwrap();
    let (response, mut stream) = client.send_request(request, false).unwrap();

    let response = response.await.unwrap();

    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(body(response).await.unwrap(), "no");
    let reason = std::future::poll_fn(|cx| stream.poll_reset(cx))
        .await
        .unwrap();
    assert_eq!(reason, Reason::NO_ERROR);
    assert!(post(&client, b"body").await.await.is_ok());
}

#[tokio::test]
async fn a_connection_closes_on_the_next_request_or_immediately() {
    let next = Reply::CloseOnNextRequest(CannedResponse::default());
    let server = server([next, Reply::AnswerThenClose(CannedResponse::default())]).await;

    let client = http2(connect(&server).await).await;
    assert!(body(post(&client, b"1").await.await.unwrap()).await.is_ok());
    assert!(post(&client, b"2").await.await.unwrap_err().is_io());
    assert_eq!(server.requests_seen(), 1);

    let client = http2(connect(&server).await).await;
    assert!(body(post(&client, b"3").await.await.unwrap()).await.is_ok());
    server.wait_until(|stats| stats.open_connections == 0).await;
}

#[tokio::test]
async fn no_more_streams_are_accepted_than_allowed() {
    let server = server([Reply::Silent]).await;
    server.on_connection([ConnFault::MaxStreams(1)]);
    let client = http2(connect(&server).await).await;
    let first = post(&client, b"one").await;
    server.wait_until(|stats| stats.bodies == 1).await;
    let mut second = tokio::spawn(async move { post(&client, b"two").await.await });

    let waited = tokio::time::timeout(std::time::Duration::from_millis(50), &mut second).await;
    assert!(waited.is_err());
    assert_eq!(server.requests_seen(), 1);

    drop(first);
    assert!(second.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_request_without_a_fault_is_forwarded_upstream() {
    let upstream = FaultServer::builder().start().await.unwrap();
    let builder = FaultServer::builder().http2().upstream(upstream.addr());
    let server = builder.start().await.unwrap();
    let client = http2(connect(&server).await).await;

    let response = post(&client, b"body").await.await.unwrap();

    assert_eq!(body(response).await.unwrap(), r#"{"ok":true}"#);
    let seen = &upstream.requests()[0];
    assert_eq!(
        (seen.version, &seen.headers["host"]),
        (Version::HTTP_11, &"api.test".parse().unwrap())
    );
    assert_eq!(seen.body, "body");
}

async fn server<const N: usize>(replies: [Reply; N]) -> FaultServer {
    let server = http2_server().await;
    server.on_request(replies);
    server
}
