//! A conditional write: no update is lost, and a 412 says whose change it may be.

use http::StatusCode;
use sevenhops::testing::{CannedResponse, FaultServer, Reply};
use sevenhops::{Effect, Error, Hop, Kind, Response};

use crate::net::{Net, url};

fn ok(tag: &str) -> Reply {
    CannedResponse::default().header("etag", tag).into()
}

fn failed() -> Reply {
    CannedResponse::new(StatusCode::PRECONDITION_FAILED).into()
}

/// A resource that a client has read.
struct Read {
    net: Net,
    server: FaultServer,
    response: Response,
}

/// Reads the resource, whose server gives `read`, then these replies.
async fn read(read: Reply, then: impl IntoIterator<Item = Reply>) -> Read {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    server.on_request(std::iter::once(read).chain(then));
    let response = net.client().get(url(&server, "http")).send().await.unwrap();
    Read {
        net,
        server,
        response,
    }
}

impl Read {
    async fn put(&self) -> Result<Response, Error> {
        let put = self.net.client().put(url(&self.server, "http"));
        let put = put.if_unchanged(&self.response).body("owner=me");
        put.send().await?.error_for_status()
    }
}

#[tokio::test]
async fn write_of_an_unchanged_resource_is_sent_with_its_tag_and_is_done() {
    let read = read(ok("\"a\""), [ok("\"b\"")]).await;
    read.put().await.unwrap();
    let seen = &read.server.requests()[1];
    assert_eq!(
        (seen.method.as_str(), &seen.headers["if-match"]),
        ("PUT", &"\"a\"".parse::<http::HeaderValue>().unwrap())
    );
    assert!(!seen.headers.contains_key("if-unmodified-since"));
}

#[tokio::test]
async fn write_of_a_changed_resource_is_declined() {
    let read = read(ok("\"a\""), [failed()]).await;
    let error = read.put().await.unwrap_err();
    assert_eq!(
        (error.hop(), error.kind(), error.effect()),
        (
            Some(Hop::Server),
            Kind::PreconditionFailed,
            Effect::Declined
        )
    );
    let told = "precondition failed, status 412; 1 attempt, effect declined; not retried";
    assert!(error.to_string().contains(told), "{error}");
    assert_eq!(read.server.requests_seen(), 2);
}

#[tokio::test]
async fn refusal_after_a_lost_response_may_be_the_result_of_the_own_write() {
    let read = read(ok("\"a\""), [Reply::CloseAfterRequest, failed()]).await;
    let error = read.put().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.effect(), error.attempts()),
        (Kind::PreconditionFailed, Effect::Possible, 2)
    );
    let told = "2 attempts, effect possible (this call may have made the change itself: GET the resource and compare)";
    assert!(error.to_string().contains(told), "{error}");
    let seen = read.server.requests();
    assert_eq!(seen[1].headers["if-match"], seen[2].headers["if-match"]);
}

#[tokio::test]
async fn server_that_requires_a_condition_is_a_kind_of_its_own() {
    let required = CannedResponse::new(StatusCode::PRECONDITION_REQUIRED);
    let read = read(ok("\"a\""), [required.into()]).await;
    let error = read.put().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.effect(), error.blame()),
        (
            Kind::PreconditionRequired,
            Effect::Declined,
            sevenhops::hop::Blame::Client
        )
    );
}

#[tokio::test]
async fn response_without_a_validator_is_refused_before_anything_is_sent() {
    let read = read(ok("W/\"a\""), []).await;
    let error = read.put().await.unwrap_err();
    assert_eq!(
        (error.hop(), error.kind(), error.effect()),
        (Some(Hop::Encode), Kind::InvalidRequest, Effect::None)
    );
    let told =
        "if_unchanged needs a validator, and the response has no strong ETag and no Last-Modified";
    assert!(error.to_string().contains(told), "{error}");
    assert_eq!(read.server.requests_seen(), 1);
}

#[tokio::test]
async fn later_condition_replaces_an_earlier_one() {
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    let dated = CannedResponse::default().header("last-modified", date);
    let read = read(dated.into(), [ok("\"b\"")]).await;
    let put = read.net.client().put(url(&read.server, "http"));
    let put = put.header("if-match", "\"old\"");
    put.if_unchanged(&read.response).send().await.unwrap();
    let seen = &read.server.requests()[1];
    assert_eq!(seen.headers["if-unmodified-since"], date);
    assert!(!seen.headers.contains_key("if-match"));
}
