//! The metrics of calls by their routes and names.

use std::net::IpAddr;
use std::time::Duration;

use sevenhops::dns::{AddressFilter, StaticResolver};
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

#[tokio::test]
async fn refusal_of_an_address_is_a_lookup_only_if_a_query_was_sent() {
    let net = Net::new().await;
    net.dns.set(
        "private.test",
        DnsScript::addresses([[10, 0, 0, 1].into()]).ttl(60),
    );
    let known: IpAddr = [10, 0, 0, 2].into();
    let listed = StaticResolver::new().host("listed.test", [known]);
    let client = |by_list: bool| {
        let builder = net.builder().metrics(&sdk().2);
        let builder = builder.transport(|transport| {
            let transport = transport.filter(AddressFilter::public_only());
            match by_list {
                true => transport.resolver(listed.clone()),
                false => transport,
            }
        });
        builder.build().unwrap()
    };
    for (host, by_list, lookups) in [
        ("10.0.0.3", false, 0),
        ("listed.test", true, 0),
        ("private.test", false, 1),
    ] {
        let client = client(by_list);
        for _ in 0..2 {
            let url = format!("http://{host}/");
            client.get(url).fetch_bytes().await.unwrap_err();
        }
        let of = ("dns.question.name", host);
        assert_eq!(sum("dns.lookup.duration", &[of]), lookups, "{host}");
        let refused = [
            ("server.address", host),
            ("sevenhops.kind", "refused by the filter"),
        ];
        assert_eq!(sum("sevenhops.hop.duration", &refused), 2, "{host}");
    }
}
