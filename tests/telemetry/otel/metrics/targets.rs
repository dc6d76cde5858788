//! The metrics of calls by their routes and names.

use std::time::Duration;

use sevenhops::testing::{CannedResponse, DnsScript, FaultServer};
use sevenhops::{Client, Config, EndpointConfig, EndpointsConfig};

use super::{port, sdk, sum};
use crate::net::Net;

const ROUTE: (&str, &str) = ("url.template", "/v1/charges");

#[tokio::test]
async fn attempt_at_an_endpoint_has_the_route_of_its_call_and_a_redirected_one_has_none() {
    let net = Net::new().await;
    net.dns
        .set("eu.test", DnsScript::addresses([[127, 0, 0, 1].into()]));
    let server = FaultServer::builder().start().await.unwrap();
    let moved = CannedResponse::new(http::StatusCode::FOUND).header("location", "/v2");
    server.on_request([moved.into(), CannedResponse::default().into()]);
    let port = port(&server);
    let endpoint = EndpointConfig::new(format!("http://eu.test:{port}"));
    let endpoints = EndpointsConfig::new().endpoint(endpoint);
    let config = Config::new(Duration::from_secs(10)).endpoints("pay.internal", endpoints);
    let resolver = net.dns.resolver();
    let client = Client::builder_from_config(config)
        .transport(|transport| transport.resolver(resolver))
        .metrics(&sdk().2)
        .build()
        .unwrap();

    let get = client.get("http://pay.internal/v1/charges");
    let get = get.options(|options| options.route(ROUTE.1));
    get.fetch_bytes().await.unwrap();

    let here = ("server.port", port.as_str());
    let metric = "http.client.request.duration";
    assert_eq!(sum(metric, &[here, ROUTE]), 1);
    assert_eq!(sum(metric, &[here]), 2);
}
