//! Tests that dropping a half-read HTTP/2 response sends a reset and harms no other call.

use std::time::Duration;

use http::StatusCode;
use sevenhops::{
    Client, Effect, TimeoutsConfig,
    testing::{CannedResponse, Gate},
};

use crate::net::{Net, url};

const DROPPED: usize = 1_200;
const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn thousand_half_read_responses_do_not_harm_other_calls() {
    let net = Net::new().await;
    let server = net.http2().await;
    let url = url(&server, "https");
    // The calls that stay open must last as long as all the others, however busy the machine is.
    let builder = Client::builder(3 * HOUR);
    let builder = builder
        .config(|config| config.timeouts(TimeoutsConfig::new().body_idle(HOUR).first_byte(HOUR)));
    let builder = builder.transport(|transport| transport.tls(net.authority.client_config()));
    let client = builder
        .transport(|transport| transport.resolver(net.dns.resolver()))
        .build()
        .unwrap();
    let gate = Gate::new();
    let held = [
        CannedResponse::json("1").hold_body(&gate),
        CannedResponse::json("2").hold(&gate),
    ];
    server.on_request(held.map(Into::into));
    let head = client.get(&url).send().await.unwrap();
    let waiting = {
        let (client, url) = (client.clone(), url.clone());
        tokio::spawn(async move {
            client
                .post(url)
                .body("10")
                .options(|options| options.retry(false))
                .fetch_bytes()
                .await
        })
    };
    server.wait_until(|stats| stats.requests == 2).await;
    server.default_reply(CannedResponse::new(StatusCode::OK).body(vec![7; 96 << 10]));
    for round in 0..DROPPED {
        let mut response = client
            .get(&url)
            .options(|options| options.retry(false))
            .send()
            .await
            .unwrap();
        let piece = response.chunk().await;
        piece.unwrap().unwrap();
        drop(response);
        if round % 100 == 0 {
            // A normal POST among all of them.
            let post = client
                .post(&url)
                .body("10")
                .options(|options| options.retry(false));
            let response = post.send().await.unwrap();
            assert_eq!(response.timeline().unwrap().effect(), Effect::Done);
        }
    }
    gate.open();
    assert_eq!(head.bytes().await.unwrap(), "1");
    assert_eq!(waiting.await.unwrap().unwrap(), "2");
    let whole = client
        .get(&url)
        .options(|options| options.retry(false))
        .fetch_bytes()
        .await
        .unwrap();
    assert_eq!(whole.len(), 96 << 10);
    assert_eq!(
        server.connections(),
        1,
        "no limit of the client ended the connection"
    );
}
