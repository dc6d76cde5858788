//! Tests that the client never dials filtered addresses.

use std::error::Error as _;

use http::StatusCode;
use sevenhops::dns::{AddressDenied, AddressFilter, AddressRange};
use sevenhops::testing::{CannedResponse, DnsScript, FaultServer, ProxyServer, Reply};
use sevenhops::{Client, Effect, Error, Hop, Kind};

use crate::net::{Net, url};

#[tokio::test]
async fn name_with_a_private_address_is_refused() {
    let net = Net::new().await;
    let client = filtering(&net, AddressFilter::public_only());
    for (name, address, range) in [
        ("loop.test", "127.0.0.1", AddressRange::Loopback),
        ("meta.test", "169.254.169.254", AddressRange::Metadata),
        ("mapped.test", "::ffff:10.0.0.1", AddressRange::Private),
    ] {
        net.dns
            .set(name, DnsScript::addresses([address.parse().unwrap()]));
        let request = client.post(format!("http://{name}/")).body("amount=100");
        let error = request.send().await.unwrap_err();
        assert_eq!(refused(&error).range(), Some(range), "{name}");
    }
    let error = client.get("http://localhost/").send().await.unwrap_err();
    assert_eq!(refused(&error).range(), Some(AddressRange::Loopback));
}

#[tokio::test]
async fn literal_in_any_spelling_is_refused_without_a_query() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let client = filtering(&net, AddressFilter::public_only());
    let port = server.addr().port();
    for host in [
        "127.0.0.1",
        "2130706433",
        "0177.0.0.1",
        "0x7f.1",
        "127.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
    ] {
        let request = client.get(format!("http://{host}:{port}/"));
        refused(&request.send().await.unwrap_err());
    }
    assert_eq!((server.connections(), net.dns.queries().len()), (0, 0));
    let unfiltered = net.client().get(format!("http://127.1:{port}/"));
    assert!(unfiltered.send().await.is_ok());
}

#[tokio::test]
async fn redirect_is_filtered_leg_by_leg() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let inner = FaultServer::builder().start().await.unwrap();
    let allowed = AddressFilter::public_only().allow(server.addr().ip().into());
    let client = filtering(&net, allowed.deny("127.0.0.2".parse().unwrap()));
    net.dns
        .set("inner.test", DnsScript::addresses([[127, 0, 0, 2].into()]));
    let port = inner.addr().port();
    for to in [
        format!("http://127.0.0.2:{port}/"),
        format!("http://0x7f.2:{port}/"),
        format!("http://inner.test:{port}/"),
    ] {
        let found = CannedResponse::new(StatusCode::FOUND).header("location", &to);
        server.on_request([Reply::from(found)]);
        let error = client.get(url(&server, "http")).send().await.unwrap_err();
        assert_eq!(
            (error.hop(), error.kind()),
            (Some(Hop::Dns), Kind::Filtered),
            "{to}"
        );
    }
    assert_eq!((server.requests_seen(), inner.connections()), (3, 0));
}

#[tokio::test]
async fn name_is_dialed_at_the_permitted_address() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let client = filtering(
        &net,
        AddressFilter::new().deny("127.0.0.2/31".parse().unwrap()),
    );
    let addresses = [[127, 0, 0, 2], [127, 0, 0, 1], [127, 0, 0, 3]];
    net.dns
        .set("api.test", DnsScript::addresses(addresses.map(Into::into)));

    let response = client.get(url(&server, "http")).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn proxy_is_not_filtered_but_a_literal_destination_is() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let proxy = ProxyServer::builder()
        .route(&format!("api.test:{}", server.addr().port()), server.addr())
        .start()
        .await
        .unwrap();
    let builder = net
        .builder()
        .transport(|transport| transport.filter(AddressFilter::public_only()));
    let client = builder.transport(|transport| transport.proxy(proxy.url()).proxy_filters(true));
    let client = client.build().unwrap();

    let error = client.get("http://169.254.169.254/").send().await;
    assert_eq!(
        refused(&error.unwrap_err()).range(),
        Some(AddressRange::Metadata)
    );
    assert_eq!(proxy.forwarded() + proxy.refused(), 0);
    let response = client.get(url(&server, "http")).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn filter_together_with_a_proxy_is_refused_unless_the_proxy_filters() {
    let net = Net::new().await;
    for filter in [
        AddressFilter::public_only(),
        AddressFilter::new().deny("10.0.0.0/8".parse().unwrap()),
    ] {
        let both = || {
            net.builder()
                .transport(|transport| transport.filter(filter.clone()).proxy("http://a.test:1"))
        };
        let refused = both().build().unwrap_err().to_string();
        assert_eq!(
            refused,
            "transport.filter: the proxy looks names up itself, so the filter cannot refuse \
             them: call proxy_filters(true) if the proxy refuses private addresses, else \
             leave out filter(..), or the proxy"
        );
        assert!(
            both()
                .transport(|transport| transport.proxy_filters(true))
                .build()
                .is_ok()
        );
        // A proxy that no request uses.
        assert!(
            both()
                .transport(|transport| transport.no_proxy("*"))
                .build()
                .is_ok()
        );
    }
    let unfiltered = net.builder().transport(|transport| {
        transport
            .filter(AddressFilter::new())
            .proxy("http://a.test:1")
    });
    assert!(unfiltered.build().is_ok());
}

#[tokio::test]
async fn exception_from_the_proxy_is_filtered_even_if_the_proxy_filters() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let proxy = ProxyServer::builder().start().await.unwrap();
    let client = net.builder().transport(|transport| {
        transport
            .filter(AddressFilter::public_only())
            .proxy(proxy.url())
            .proxy_filters(true)
            .no_proxy("api.test")
    });
    let client = client.build().unwrap();
    let error = client.get(url(&server, "http")).send().await.unwrap_err();
    assert_eq!(refused(&error).range(), Some(AddressRange::Loopback));
    assert_eq!((server.connections(), proxy.forwarded()), (0, 0));
}

fn filtering(net: &Net, filter: AddressFilter) -> Client {
    net.builder()
        .transport(|transport| transport.filter(filter))
        .build()
        .unwrap()
}

/// Checks a call that the filter rejected: at once, permanently, and without effect. Returns the filter's error.
fn refused(error: &Error) -> &AddressDenied {
    assert_eq!(
        (error.hop(), error.kind(), error.effect(), error.attempts()),
        (Some(Hop::Dns), Kind::Filtered, Effect::None, 1),
        "{error}"
    );
    let cause = error.source().expect("the filter's word is kept");
    cause.downcast_ref().expect("the filter's word is kept")
}
