//! The last good response stands in for a failure of the real transport.

use std::time::Duration;

use http::StatusCode;
use sevenhops::policy::stale::StaleConfig;
use sevenhops::testing::{CannedResponse, FaultServer, Reply};
use sevenhops::{Client, Consistency, Effect, Hop, Response};

use crate::net::{Net, url};

const MINUTE: Consistency = Consistency::StaleFor(Duration::from_secs(60));

fn store() -> StaleConfig {
    StaleConfig::new().store_bytes(1 << 20).consistency(MINUTE)
}

fn client(net: &Net, stale: StaleConfig) -> Client {
    net.builder()
        .config(|config| config.stale(stale))
        .build()
        .unwrap()
}

/// Reads a response to its end. Returns whether it is stale.
async fn read(response: Response) -> (String, bool) {
    let is_stale = response.is_stale();
    (response.text().await.unwrap(), is_stale)
}

#[tokio::test]
async fn refused_connection_proves_no_effect_and_a_write_leaves_the_response_good() {
    let net = Net::new().await;
    for scheme in ["http", "https"] {
        let server = match scheme {
            "http" => FaultServer::builder().start().await.unwrap(),
            _ => net.http2().await,
        };
        let (client, url) = (client(&net, store()), url(&server, scheme));
        let good = client.get(&url).send().await.unwrap();
        assert_eq!(read(good).await, (r#"{"ok":true}"#.into(), false));
        server.stop().await;
        let failed = client
            .put(&url)
            .options(|options| options.retry(false))
            .send()
            .await
            .unwrap_err();
        assert_eq!(failed.effect(), Effect::None, "{failed}");
        let stale = client
            .get(&url)
            .options(|options| options.retry(false))
            .send()
            .await
            .unwrap();
        let staleness = stale.staleness().unwrap().clone();
        let error = staleness.error().unwrap();
        assert_eq!(
            (error.hop(), error.effect()),
            (Some(Hop::Connect), Effect::None)
        );
        assert!(stale.headers().contains_key("age"));
        assert_eq!(read(stale).await, (r#"{"ok":true}"#.into(), true));
        let value: serde_json::Value = client
            .get(&url)
            .options(|options| options.retry(false))
            .fetch_json()
            .await
            .unwrap();
        assert_eq!(value["ok"], true);
        let refused = client
            .get(&url)
            .options(|options| options.retry(false).consistency(Consistency::Refuse));
        assert_eq!(refused.send().await.unwrap_err().hop(), Some(Hop::Connect));
    }
}

#[tokio::test]
async fn body_that_breaks_off_has_a_substitute_if_it_is_received_whole() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let (client, url) = (client(&net, store()), url(&server, "http"));
    let good = client.get(&url).fetch_bytes().await.unwrap();
    server.on_request([Reply::TruncateBody {
        declared: 11,
        sent: "{\"ok\"".into(),
    }]);
    let stale = client
        .get(&url)
        .options(|options| options.retry(false))
        .fetch_bytes()
        .await
        .unwrap();
    assert_eq!(stale, good);
}

#[tokio::test]
async fn encoded_body_is_stored_as_it_came_and_decoded_each_time() {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(b"a bicycle").unwrap();
    let encoded = encoder.finish().unwrap();
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let (client, url) = (client(&net, store()), url(&server, "http"));
    let good = CannedResponse::new(StatusCode::OK).header("content-encoding", "gzip");
    let down = CannedResponse::new(StatusCode::SERVICE_UNAVAILABLE).body("down");
    server.on_request([good.body(encoded).into(), down.into()]);
    let first = client.get(&url).send().await.unwrap();
    assert_eq!(read(first).await, ("a bicycle".into(), false));
    let second = client
        .get(&url)
        .options(|options| options.retry(false))
        .send()
        .await
        .unwrap();
    assert_eq!(read(second).await, ("a bicycle".into(), true));
}

#[tokio::test]
async fn client_refreshes_in_the_background() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let refreshing = store().while_revalidate(Duration::from_secs(60));
    let (client, url) = (client(&net, refreshing), url(&server, "http"));
    let one = CannedResponse::new(StatusCode::OK).body("one");
    let two = CannedResponse::new(StatusCode::OK).body("two");
    server.on_request([one.into(), two.into()]);
    let first = client.get(&url).send().await.unwrap();
    assert_eq!(read(first).await, ("one".into(), false));
    let second = client.get(&url).send().await.unwrap();
    assert!(second.staleness().unwrap().error().is_none());
    assert_eq!(read(second).await, ("one".into(), true));
    server.wait_until(|stats| stats.requests == 2).await;
    // The refresh is stored when its body has come.
    let newer = async {
        loop {
            let next = client.get(&url).send().await.unwrap();
            match read(next).await.0.as_str() {
                "one" => tokio::task::yield_now().await,
                text => return text.to_owned(),
            }
        }
    };
    let newer = tokio::time::timeout(Duration::from_secs(5), newer).await;
    assert_ne!(newer.unwrap(), "one");
}

#[tokio::test]
async fn search_with_a_body_never_gets_the_response_to_another_one() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let refreshed = store().while_revalidate(Duration::from_secs(60));
    let (client, url) = (client(&net, refreshed), url(&server, "http"));
    let search = async |tenant| {
        let get = client
            .get(&url)
            .body(format!("{{\"tenant\":\"{tenant}\"}}"));
        read(get.send().await.unwrap()).await
    };
    for (at, tenant) in ["a", "b"].into_iter().enumerate() {
        let own = CannedResponse::new(StatusCode::OK).body(tenant);
        server.on_request([own.into()]);
        assert_eq!(search(tenant).await, (tenant.to_owned(), false));
        let asked = &server.requests()[at].body;
        assert_eq!(*asked, format!("{{\"tenant\":\"{tenant}\"}}"));
    }
}
