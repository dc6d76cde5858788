use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use sevenhops::testing::{CannedResponse, DnsScript, FaultServer, ScriptedDns};
use sevenhops::{Client, assert_effect, assert_hop};

/// A record that may not be cached.
fn at(address: Ipv4Addr) -> DnsScript {
    DnsScript::addresses([address.into()]).ttl(0)
}

#[tokio::test]
async fn client_follows_a_service_that_moves_and_reports_a_service_that_stops() {
    let (blue, green) = (Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2));
    let old = FaultServer::start().await.unwrap();
    let port = old.addr().port();
    let new = FaultServer::builder().address(SocketAddr::from((green, port)));
    let new = new.start().await.unwrap();
    new.default_reply(CannedResponse::json(r#"{"moved":true}"#));

    let dns = ScriptedDns::start().await.unwrap();
    let client = Client::builder(Duration::from_secs(10))
        .transport(|transport| transport.resolver(dns.resolver()));
    let client = client.build().unwrap();
    let url = format!("http://api.test:{port}/v1/charges");

    dns.set("api.test", at(blue));
    client.get(&url).fetch_bytes().await.unwrap();

    // The connection to the old address is open and works. The client does not use it.
    dns.set("api.test", at(green));
    let moved = client.get(&url).fetch_bytes().await.unwrap();
    assert_eq!(moved, r#"{"moved":true}"#);
    assert_eq!((old.requests_seen(), new.requests_seen()), (1, 1));

    // The new server stops. Nothing is sent, so the client retries, and the call fails without effect.
    new.stop().await;
    let error = client.post(&url).send().await.unwrap_err();
    assert_hop!(error, Connect, Refused);
    assert_effect!(error, None);
    assert_eq!(error.attempts(), 10);

    // A name that does not exist will not exist a second later either, so the client does not retry.
    let error = client.post("http://typo.test/").send().await.unwrap_err();
    assert_hop!(error, Dns, NotFound);
    assert_eq!(error.attempts(), 1);
}
