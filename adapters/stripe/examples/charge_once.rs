//! `stripe.Charge.create(..)` against a server that charges and loses the response: the customer pays once.
//!
//! ```text
//! cargo run -p sevenhops-stripe --example charge_once
//! ```

use std::error::Error;
use std::time::Duration;

use sevenhops::testing::{CannedResponse, FaultServer, Reply};
use sevenhops_stripe::Client;
use stripe_client_core::{SharedConfigBuilder, StripeRequest};
use stripe_core::charge::CreateCharge;
use stripe_types::Currency;

const CHARGE: &str = r#"{"object":"charge","id":"ch_1","amount":2000,"amount_captured":2000,"amount_refunded":0,
    "billing_details":{},"captured":true,"created":1,"currency":"usd","disputed":false,"livemode":false,
    "metadata":{},"paid":true,"refunded":false,"status":"succeeded"}"#;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // In place of api.stripe.com. It honors keys, so its second response is that to the first request.
    let server = FaultServer::start().await?;
    server.on_request([Reply::CloseAfterRequest]);
    server.default_reply(CannedResponse::json(CHARGE));

    let config = SharedConfigBuilder::new("sk_test_1").url(server.url("/"));
    let client = Client::new(config, Duration::from_secs(10))?;
    let charge = CreateCharge::new()
        .amount(2000)
        .currency(Currency::USD)
        .source("tok_visa");
    let charge = charge.customize().send(&client).await?;
    println!("charged: {} ({} cents)", charge.id, charge.amount);

    let keys: Vec<_> = server
        .requests()
        .iter()
        .filter_map(|seen| seen.headers.get("idempotency-key").cloned())
        .collect();
    assert!(keys.len() == 2 && keys[0] == keys[1], "{keys:?}");
    println!("sent twice with one key: {:?}", keys[0]);

    // The server is down for good: the error says whether the customer was charged.
    server.default_reply(Reply::CloseAfterRequest);
    let charge = CreateCharge::new()
        .amount(2000)
        .currency(Currency::USD)
        .source("tok_visa");
    let error = charge
        .customize()
        .send(&client)
        .await
        .err()
        .ok_or("an error is expected")?;
    println!("{error}");
    if let Some(timeline) = error.call().and_then(|call| call.timeline()) {
        println!("{timeline}");
    }
    Ok(())
}
