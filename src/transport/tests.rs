use std::time::Duration;

use super::*;
use crate::dns;
use crate::hop::Effect;

/// Returns a transport as on a system without trusted certificates.
fn without_roots() -> Transport {
    let timeouts = Timeouts::new(Duration::from_secs(10)).unwrap();
    let builder = Transport::builder(timeouts).resolver(dns::StaticResolver::new());
    let mut transport = builder.tls(config()).build().unwrap();
    let none = ConfigError::refused("tls", "no certificates");
    Arc::get_mut(&mut transport.shared).unwrap().tls = Err(Arc::new(none));
    transport
}

fn config() -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let none = rustls::RootCertStore::empty();
    builder.with_root_certificates(none).with_no_client_auth()
}

async fn get(url: &str) -> Error {
    let request = Request::get(url).body(String::new()).unwrap();
    let sent = without_roots().call(request).await;
    sent.unwrap_err()
}

#[tokio::test]
async fn only_a_call_over_tls_needs_roots_and_its_error_says_what_to_do() {
    let secure = get("https://127.0.0.1:9/").await;
    assert_eq!(
        (secure.hop(), secure.effect()),
        (Some(Hop::Encode), Effect::None)
    );
    let told = std::error::Error::source(&secure).unwrap().to_string();
    assert!(told.contains("install ca-certificates"), "{told}");
    let plain = get("http://127.0.0.1:9/").await;
    assert_eq!(plain.hop(), Some(Hop::Connect));
}

#[tokio::test]
async fn unreadable_port_fails_although_the_host_is_known() {
    let transport = without_roots();
    let destination = |url: &str| {
        let (uri, now) = (url.parse().unwrap(), Instant::now());
        transport
            .shared
            .destination(&uri, &mut HeaderMap::new(), now)
    };
    assert!(destination("http://api.test/").is_ok());
    for url in ["http://api.test:99999/", "http://api.test:80x/"] {
        let error = destination(url).err().unwrap();
        assert_eq!(error.hop(), Some(Hop::Encode), "{url}");
    }
}
