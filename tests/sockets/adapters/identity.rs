//! Tests that a client with connections of its own shows its certificate only to the origin of the call.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use sevenhops::testing::{CannedResponse, DnsScript, FaultServer, Reply};
use sevenhops::{Body, Effect, Error, Hop, Kind, StandardLayer, Transport, TransportBuilder};
use tower::{Layer, Service, ServiceExt};

use super::world::{BoxError, World};

struct Street {
    world: World,
    /// Requires a client certificate.
    strict: FaultServer,
    /// Does not ask for a certificate, and redirects to the other server.
    start: FaultServer,
}

impl Street {
    async fn new() -> Self {
        let world = World::new().await;
        for name in ["other.test", "start.test"] {
            let here = DnsScript::addresses([[127, 0, 0, 1].into()]);
            world.dns.set(name, here);
        }
        let names = ["other.test", "start.test"];
        let identity = world.authority.issue(&names).unwrap();
        let strict = identity.server_config_with_client_auth(&world.authority, &[]);
        let strict = FaultServer::builder().tls_config(strict);
        let start = FaultServer::builder().tls(identity);
        Self {
            strict: strict.start().await.unwrap(),
            start: start.start().await.unwrap(),
            world,
        }
    }

    fn transport(&self) -> TransportBuilder {
        let own = self.world.authority.issue(&["client.test"]).unwrap();
        let config = self.world.authority.client_config_as(&own);
        self.world.transport().tls(config)
    }

    fn policies(&self) -> StandardLayer {
        StandardLayer::from_config(&self.world.settings()).unwrap()
    }

    fn strict_url(&self) -> String {
        format!("https://other.test:{}/", self.strict.addr().port())
    }

    fn start_url(&self) -> String {
        format!("https://start.test:{}/", self.start.addr().port())
    }
}

async fn get<S, B, R>(service: &S, url: String) -> Result<StatusCode, Error>
where
    S: Service<Request<B>, Response = Response<R>, Error = Error> + Clone,
    B: Default,
    R: http_body::Body<Error: Into<BoxError>>,
{
    let request = Request::get(url).body(B::default()).unwrap();
    let response = service.clone().oneshot(request).await?;
    let status = response.status();
    assert!(response.into_body().collect().await.is_ok());
    Ok(status)
}

/// Calls the server directly and by a redirect, over one client.
async fn check<S, B, R>(street: &Street, service: S, is_pool_seen: bool)
where
    S: Service<Request<B>, Response = Response<R>, Error = Error> + Clone,
    B: Default,
    R: http_body::Body<Error: Into<BoxError>>,
{
    let away = async || {
        let moved = CannedResponse::new(StatusCode::FOUND);
        let moved = moved.header("location", &street.strict_url());
        street.start.on_request([Reply::from(moved)]);
        let error = get(&service, street.start_url()).await;
        let error = error.expect_err("the certificate was shown");
        let found = (error.hop(), error.kind(), error.attempts());
        assert_eq!(
            found,
            (Some(Hop::Encode), Kind::InvalidRequest, 2),
            "{error}"
        );
        assert!(error.effect() <= Effect::Declined, "{error}");
    };
    away().await;
    assert_eq!(street.strict.requests_seen(), 0);
    // No connection without the certificate is left in the pool, and no session ticket.
    assert_eq!(get(&service, street.strict_url()).await.unwrap(), 200);
    assert_eq!(street.strict.requests_seen(), 1);
    if is_pool_seen {
        // The pooled connection has the certificate.
        away().await;
    }
    street.strict.close_connections();
    street
        .strict
        .wait_until(|stats| stats.open_connections == 0)
        .await;
    // A resumed session would be that of the certificate.
    away().await;
    assert_eq!(street.strict.requests_seen(), 1);
    // On the same origin, the client shows the certificate after a redirect, too.
    let there = CannedResponse::new(StatusCode::FOUND).header("location", "/there");
    street.strict.on_request([Reply::from(there)]);
    assert_eq!(get(&service, street.strict_url()).await.unwrap(), 200);
    // A server that asks for no certificate is reached.
    let moved = CannedResponse::new(StatusCode::FOUND);
    let free = street.start_url().replace("start.test", "other.test");
    street
        .start
        .on_request([moved.header("location", &free).into()]);
    assert_eq!(get(&service, street.start_url()).await.unwrap(), 200);
}

#[tokio::test]
async fn certificate_is_not_shown_after_a_redirect_over_hyper_utils_client() {
    let street = Street::new().await;
    let hops = street.transport().build_hyper().unwrap();
    let https = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(hops.tls())
        .https_or_http()
        .enable_all_versions()
        .wrap_connector(hops.http_connector());
    let client = Client::builder(TokioExecutor::new());
    let client = client.build(hops.connector_layer().layer(https));
    let service = street.policies().layer(hops.layer().layer(client));
    check::<_, Full<Bytes>, _>(&street, service, true).await;
}

#[tokio::test]
async fn certificate_is_not_shown_after_a_redirect_over_a_bare_client() {
    let street = Street::new().await;
    let client = street.transport().build_reqwest().unwrap();
    let service = street.policies().layer(Transport::over(client));
    check::<_, Body, _>(&street, service, false).await;
}

#[tokio::test]
async fn certificate_is_not_shown_to_a_proxy_of_a_bare_client() {
    let street = Street::new().await;
    // The same server is a proxy here, and forwards nothing.
    let client = street.transport().proxy(street.strict_url());
    let client = client.build_reqwest().unwrap();
    let error = client.get("http://api.test/").send().await;
    let error = error.expect_err("the certificate was shown");
    assert_eq!(street.strict.requests_seen(), 0, "{error}");
}
