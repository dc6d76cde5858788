//! Tests HTTP/2 without TLS: the client uses it only with prior knowledge, and refuses it otherwise.

use http::Version;
use sevenhops::testing::FaultServer;
use sevenhops::{Effect, Hop, Kind};

use super::raw::http2_client;
use crate::net::{Net, url};

#[tokio::test]
async fn http2_to_a_plain_url_needs_prior_knowledge() {
    let net = Net::new().await;
    let server = FaultServer::builder().http2().start().await.unwrap();
    let url = url(&server, "http");
    let post = net.client().post(&url).version(Version::HTTP_2).body("10");
    let error = post.send().await.unwrap_err();
    assert_eq!(
        (error.hop(), error.kind(), error.effect()),
        (Some(Hop::Encode), Kind::InvalidRequest, Effect::None)
    );
    assert_eq!((error.attempts(), server.connections()), (1, 0));
    let text = error.to_string();
    assert!(text.contains("http2_prior_knowledge(true)"), "{text}");
    let client = http2_client(&net);
    for version in [Version::HTTP_2, Version::HTTP_11] {
        let post = client.post(&url).version(version).body("10");
        let response = post.send().await.unwrap();
        assert_eq!(response.version(), Version::HTTP_2);
        response.bytes().await.unwrap();
    }
    let seen = server.requests();
    assert!(seen.iter().all(|seen| seen.version == Version::HTTP_2));
    assert_eq!((seen.len(), server.connections()), (2, 1));
}
