use std::time::Duration;

use super::*;

fn client() -> Client {
    Client::builder(Duration::from_secs(10)).build().unwrap()
}

#[tokio::test]
async fn upstream_that_cannot_be_a_base_is_refused_without_its_secrets() {
    let expected = "an http or https URL without userinfo, query and fragment";
    for (upstream, shown) in [
        ("ftp://api.test/", "ftp://api.test/"),
        ("https://user:pw@api.test/v1", "https://api.test/v1"),
        ("https://api.test/v1?key=pw", "https://api.test/v1"),
        ("https://api.test/v1#pw", "https://api.test/v1"),
    ] {
        let error = gateway(&client(), upstream).unwrap_err();
        let text = format!("gateway.upstream: {shown:?} is invalid: expected {expected}");
        assert_eq!(error.to_string(), text);
        assert!(!format!("{error:?}").contains("pw"));
    }
    let error = gateway(&client(), "/v1").unwrap_err();
    assert_eq!(
        error.to_string(),
        "gateway.upstream cannot be used: relative URL without a base"
    );
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(source, "relative URL without a base");
}

#[test]
fn gateway_needs_a_runtime() {
    let error = gateway(&client(), "https://api.test").unwrap_err();
    let expected = "gateway.upstream: call it in a tokio runtime";
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn prefix_has_128_bits_and_is_not_shown() {
    let gateways = [(); 2].map(|()| gateway(&client(), "https://api.test/v1").unwrap());
    let tokens = gateways.each_ref().map(|gateway| {
        let (authority, token) = gateway.url()[7..].split_once('/').unwrap();
        assert!(authority.starts_with("127.0.0.1:"), "{authority}");
        assert_eq!(token.len(), 32);
        let shown = format!("{gateway:?}");
        assert_eq!(shown, r#"Gateway { upstream: "https://api.test/v1", .. }"#);
        u128::from_str_radix(token, 16).unwrap()
    });
    assert_ne!(tokens[0], tokens[1]);
    assert!(tokens.iter().all(|token| *token != 0));
}
