//! An error of reqwest inside the error of a transport.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use sevenhops::Error;
use tower::{Layer, ServiceExt, service_fn};

use super::{Answer, post, standard};

/// Wraps an error like reqwest-middleware: the inner error shows the whole URL.
#[derive(Debug)]
struct Wrapped(reqwest::Error);

impl std::fmt::Display for Wrapped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Wrapped {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// Returns the error of a call whose transport wraps reqwest's error.
async fn wrapped(url: &'static str) -> Error {
    let service = standard().layer(service_fn(move |_: Request<Full<Bytes>>| async move {
        let authority = sevenhops::testing::TestCa::new().unwrap();
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_backend_preconfigured(authority.client_config());
        let failed = client.build().unwrap().get(url).send().await;
        Err::<Answer, _>(Wrapped(failed.unwrap_err()))
    }));
    service.oneshot(post()).await.unwrap_err()
}

#[tokio::test]
async fn url_of_a_wrapped_reqwest_error_is_removed() {
    let error = wrapped("ftp://api.test/?key=canary").await;
    let cause = std::error::Error::source(&error).unwrap();
    let told = format!("{error} {error:?} {cause} {cause:?}");
    assert!(!told.contains("canary"), "{told}");
}

#[tokio::test]
async fn wrapped_reqwest_error_whose_url_holds_no_secret_can_be_downcast() {
    let error = wrapped("ftp://api.test/v1/charges").await;
    let cause = std::error::Error::source(&error).unwrap();
    assert!(cause.downcast_ref::<Wrapped>().is_some(), "{error:?}");
}
