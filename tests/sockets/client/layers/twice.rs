//! A layer that sends a request twice in one attempt: a proof about the second request says nothing about the first.

use h2::Reason;
use http::StatusCode;
use sevenhops::testing::{CannedResponse, FaultServer, Reply};
use sevenhops::{Client, Effect};

use super::{UNAVAILABLE, once_more};
use crate::net::{Net, url};

fn client(net: &Net, after: StatusCode) -> Client {
    let builder = net.builder().attempt_layer(once_more(after));
    builder.build().unwrap()
}

/// Sends a POST that the layer sends twice. Checks that it may have happened, and that the driver does not send it
/// again.
async fn assert_possible(client: &Client, server: &FaultServer) {
    let before = server.requests().len();
    let post = client.post(url(server, "https")).body("charge");
    let error = post.send().await.unwrap_err();
    assert_eq!(error.effect(), Effect::Possible, "{error}");
    let timeline = error.timeline().unwrap();
    assert_eq!(timeline.effect(), Effect::Possible);
    assert_eq!(timeline.attempt_count(), 1);
    assert_eq!(server.requests().len() - before, 2);
}

#[tokio::test]
async fn refusal_of_the_second_request_does_not_prove_that_the_first_had_no_effect() {
    let net = Net::new().await;
    for after in [UNAVAILABLE, StatusCode::OK] {
        for refusal in [
            Reply::ResetStream(Reason::REFUSED_STREAM),
            Reply::GoAwayBelow(Reason::NO_ERROR),
        ] {
            let server = net.http2().await;
            let client = client(&net, after);
            let first = CannedResponse::new(after).into();
            server.on_request([first, refusal]);
            assert_possible(&client, &server).await;
        }
    }
}
