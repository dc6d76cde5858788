use std::time::Duration;

use sevenhops::testing::{FaultServer, Reply, TimelineRecorder};
use sevenhops::{Client, Error, assert_effect, assert_hop};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

/// The code under test: the part of your program that calls the API.
struct Payments {
    client: Client,
    base: String,
    honors_idempotency_keys: bool,
}

impl Payments {
    async fn charge(&self, order: &str) -> Result<String, Error> {
        let charge = self.client.post(format!("{}/v1/charges", self.base));
        let charge = charge.form(&[("amount", "100"), ("order", order)]);
        let response = charge
            .options(|options| options.honors_idempotency_keys(self.honors_idempotency_keys))
            .send()
            .await?;
        response.error_for_status()?.text().await
    }
}

#[tokio::test]
async fn lost_response_does_not_cause_a_second_charge() {
    // wiremock is the service; the fault server in front of it is the network.
    let service = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/v1/charges"))
        .respond_with(ResponseTemplate::new(201).set_body_string("ch_1"))
        .mount(&service)
        .await;
    let network = FaultServer::builder().upstream(*service.address());
    let network = network.start().await.unwrap();

    let recorder = TimelineRecorder::new(); // prints every call if this test fails
    let client = Client::builder(Duration::from_secs(10)).on_complete(recorder.listener());
    let mut payments = Payments {
        client: client.build().unwrap(),
        base: network.url(""),
        honors_idempotency_keys: false,
    };
    assert_eq!(payments.charge("4710").await.unwrap(), "ch_1");

    // The request arrives, and the connection closes: the effect is unknown, so the client does not retry.
    network.on_request([Reply::CloseAfterRequest]);
    let error = payments.charge("4711").await.unwrap_err();
    assert_hop!(error, Server, Closed);
    assert_effect!(error, Possible);
    assert_eq!(network.requests_seen(), 2);

    // A service that honors keys gets the same key again.
    payments.honors_idempotency_keys = true;
    network.on_request([Reply::CloseAfterRequest]);
    assert_eq!(payments.charge("4712").await.unwrap(), "ch_1");
    let [_, _, lost, retried] = &network.requests()[..] else {
        panic!("one charge too many, or too few")
    };
    assert_eq!(
        lost.headers["idempotency-key"],
        retried.headers["idempotency-key"]
    );
    assert_eq!(recorder.wait_for(3).await[2].attempt_count(), 2);
}
