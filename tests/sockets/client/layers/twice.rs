//! A layer that sends a request twice in one attempt: a proof about the second request says nothing about the first.

use h2::Reason;
use http::{Method, Request, StatusCode};
use sevenhops::client::InnerService;
use sevenhops::testing::{CannedResponse, DnsScript, FaultServer, Reply};
use sevenhops::{Body, Client, Effect};
use tower::{Service, ServiceExt, layer::layer_fn, service_fn};

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

#[tokio::test]
async fn first_error_of_a_failover_does_not_hide_the_second_request() {
    let net = Net::new().await;
    let server = FaultServer::start().await.unwrap();
    net.dns.set("gone.test", DnsScript::NxDomain);
    let there = url(&server, "http");
    let failover = layer_fn(move |inner: InnerService| {
        let there = there.clone();
        service_fn(move |request: Request<Body>| {
            let (mut inner, there) = (inner.clone(), there.clone());
            async move {
                let mut again = Request::new("charge".into());
                *again.method_mut() = Method::POST;
                *again.uri_mut() = there.parse().unwrap();
                *again.extensions_mut() = request.extensions().clone();
                match inner.ready().await?.call(request).await {
                    Ok(response) => Ok(response),
                    // It returns the first error, whatever the second request does.
                    Err(first) => {
                        let second = inner.ready().await?.call(again).await;
                        second.or(Err(first))
                    }
                }
            }
        })
    });
    let client = net.builder().attempt_layer(failover).build().unwrap();
    server.on_request([Reply::CloseAfterRequest, Reply::CloseAfterRequest]);
    let post = client.post("http://gone.test/v1").body("charge").send();
    let error = post.await.unwrap_err();
    assert_eq!(error.effect(), Effect::Possible, "{error}");
    assert_eq!(error.timeline().unwrap().effect(), Effect::Possible);
    assert_eq!(server.requests_seen(), 1);
}
