//! A client of reqwest 0.12 over a server on loopback that fails.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use sevenhops::dns::StaticResolver;
use sevenhops::testing::{
    CannedResponse, ClosedPort, DnsScript, FaultServer, Reply, ScriptedDns, TestCa,
};
use sevenhops::{Effect, Hop, Operation, OperationError, Timeouts, sdk};
use sevenhops_reqwest012::{builder_with, client};
use tokio::time::Instant;

fn judge(error: &(dyn Error + 'static)) -> (Option<Hop>, Effect) {
    let found = sdk::classify_error(error);
    (found.hop(), found.effect())
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[tokio::test]
async fn responses_are_returned_with_their_status() {
    let server = FaultServer::start().await.unwrap();
    let throttled = CannedResponse::new(429_u16.try_into().unwrap()).header("retry-after", "7");
    server.on_request([throttled.into()]);
    let client = client(secs(10)).unwrap();
    let response = client.get(server.url("/")).send().await.unwrap();
    assert_eq!(
        (
            response.status().as_u16(),
            &response.headers()["retry-after"]
        ),
        (429, &"7".parse().unwrap())
    );
    assert_eq!(
        client
            .get(server.url("/"))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap(),
        r#"{"ok":true}"#
    );
}

#[tokio::test]
async fn failed_setup_names_its_hop() {
    let closed = ClosedPort::new().unwrap();
    let client = client(secs(10)).unwrap();
    let error = client
        .post(format!("http://{}/", closed.addr()))
        .send()
        .await
        .unwrap_err();
    assert_eq!(judge(&error), (Some(Hop::Connect), Effect::Possible));

    let dns = ScriptedDns::start().await.unwrap();
    dns.set("gone.test", DnsScript::NxDomain);
    let timeouts = Timeouts::new(secs(10)).unwrap();
    let client = builder_with(timeouts, dns.resolver())
        .unwrap()
        .build()
        .unwrap();
    let error = client.post("http://gone.test/").send().await.unwrap_err();
    assert_eq!(judge(&error), (Some(Hop::Dns), Effect::Possible));
    assert!(dns.queries_for("gone.test") > 0);

    // The certificate is of an unknown authority.
    let identity = TestCa::new().unwrap().issue(&["api.test"]).unwrap();
    let server = FaultServer::builder().tls(identity).start().await.unwrap();
    let names = StaticResolver::new().host("api.test", [server.addr().ip()]);
    let client = builder_with(timeouts, names).unwrap().build().unwrap();
    let url = format!("https://api.test:{}/", server.addr().port());
    let error = client.post(url).send().await.unwrap_err();
    assert_eq!(judge(&error).0, Some(Hop::Tls));
}

#[tokio::test]
async fn failed_lookup_after_a_redirect_proves_nothing_about_the_request() {
    let dns = ScriptedDns::start().await.unwrap();
    dns.set("gone.test", DnsScript::NxDomain);
    let gone = "http://gone.test/";
    let server = FaultServer::start().await.unwrap();
    server.default_reply(CannedResponse::new(303_u16.try_into().unwrap()).header("location", gone));
    let client = builder_with(Timeouts::new(secs(10)).unwrap(), dns.resolver()).unwrap();
    let client = client.redirect(reqwest::redirect::Policy::limited(3));
    let client = client.build().unwrap();
    let charge = server.url("/charge");
    let error = client.post(&charge).send().await.unwrap_err();
    assert_eq!(judge(&error), (Some(Hop::Dns), Effect::Possible));
    // An operation knows whether its attempt has waited for a response.
    for (url, effect) in [(charge.as_str(), Effect::Possible), (gone, Effect::None)] {
        let operation = Operation::new("charges", secs(10)).unwrap();
        let charge = operation.run(async |_| {
            let sent = client.post(url).send().await;
            sent.map_err(OperationError::from_error)
        });
        let error = charge.await.unwrap_err();
        assert_eq!(
            (error.hop(), error.effect()),
            (Some(Hop::Dns), effect),
            "{url}"
        );
    }
    assert_eq!(server.requests_seen(), 2);
}

#[tokio::test]
async fn lost_response_and_broken_body_are_possible() {
    let server = FaultServer::start().await.unwrap();
    server.on_request([Reply::CloseAfterRequest]);
    let client = client(secs(10)).unwrap();
    let error = client.post(server.url("/")).send().await.unwrap_err();
    assert_eq!(
        (judge(&error).1, server.requests_seen()),
        (Effect::Possible, 1)
    );
    let sent = Bytes::from_static(b"half");
    server.on_request([Reply::TruncateBody { declared: 90, sent }]);
    let error = client
        .post(server.url("/"))
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap_err();
    assert_eq!(judge(&error).1, Effect::Possible);
}

#[tokio::test]
async fn deadline_ends_a_silent_request() {
    let server = FaultServer::start().await.unwrap();
    server.default_reply(Reply::Silent);
    let begun = Instant::now();
    let client = client(Duration::from_millis(300)).unwrap();
    let error = client.post(server.url("/")).send().await.unwrap_err();
    assert!(error.is_timeout() && begun.elapsed() < secs(10));
    assert_eq!(judge(&error).1, Effect::Possible);
}

#[tokio::test]
async fn client_works_below_reqwest_middleware() {
    let server = FaultServer::start().await.unwrap();
    let client = reqwest_middleware::ClientBuilder::new(client(secs(10)).unwrap()).build();
    assert!(
        client
            .get(server.url("/"))
            .send()
            .await
            .unwrap()
            .status()
            .is_success()
    );
    let closed = ClosedPort::new().unwrap();
    let error = client
        .post(format!("http://{}/", closed.addr()))
        .send()
        .await
        .unwrap_err();
    assert_eq!(judge(&error), (Some(Hop::Connect), Effect::Possible));
}
