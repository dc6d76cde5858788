//! hyper-util's own client, without and with our pool layer. A DNS record moves, and only the client with the layer
//! follows it.
//!
//! ```text
//! cargo run -p sevenhops-demos --bin sdk_hyper
//! ```

use std::error::Error as StdError;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use sevenhops::{
    StandardLayer, Timeline, Timeouts, Transport,
    testing::{DnsScript, FaultServer, ScriptedDns},
};

use tower::{Layer, ServiceBuilder, ServiceExt};

type Result<T> = std::result::Result<T, Box<dyn StdError + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let old = FaultServer::builder().start().await?;
    let port = old.addr().port();
    let elsewhere = SocketAddr::new([127, 0, 0, 2].into(), port);
    let new = FaultServer::builder().address(elsewhere).start().await?;
    let dns = ScriptedDns::start().await?;
    dns.set("api.test", leads_to(old.addr().ip()));

    let deadline = Duration::from_secs(5);
    let transport = Transport::builder(Timeouts::new(deadline)?).resolver(dns.resolver());
    let hops = transport.build_hyper()?;
    let connector = hops.connector_layer().layer(hops.http_connector());
    let plain = Client::builder(TokioExecutor::new()).build(connector.clone());
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let service = ServiceBuilder::new()
        .layer(StandardLayer::new(deadline)?)
        .layer(hops.layer())
        .service(client);
    let request = || {
        let url = format!("http://api.test:{port}/");
        http::Request::get(url).body(Empty::<Bytes>::new())
    };
    let call = async || -> Result<Timeline> {
        let body = service.clone().oneshot(request()?).await?.into_body();
        let timeline = body.timeline().clone();
        body.collect().await?;
        Ok(timeline)
    };

    println!("{}", call().await?);
    plain
        .request(request()?)
        .await?
        .into_body()
        .collect()
        .await?;
    dns.set("api.test", leads_to(new.addr().ip()));
    // Until the record has expired and was looked up again.
    let moved = tokio::time::timeout(deadline, async {
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        while new.requests_seen() == 0 {
            ticks.tick().await;
            call().await?;
        }
        call().await
    });
    println!("{}", moved.await??);
    let before = old.requests_seen();
    plain
        .request(request()?)
        .await?
        .into_body()
        .collect()
        .await?;
    assert_eq!(
        old.requests_seen(),
        before + 1,
        "the plain one has not noticed"
    );
    let (after, _) = (new.requests_seen(), call().await?);
    assert_eq!(new.requests_seen(), after + 1, "ours has");
    Ok(())
}

fn leads_to(address: IpAddr) -> DnsScript {
    DnsScript::addresses([address]).ttl(1)
}
