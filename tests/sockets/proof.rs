//! Tests that "no effect" is a proof: a request sent below, beside or before the failure removes it.

use std::future::poll_fn;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Full;
use sevenhops::RetryConfig;
use sevenhops::TimeoutsConfig;

use sevenhops::sdk::operation::{OperationConfig, OperationError};
use sevenhops::testing::{ClosedPort, DnsScript, FaultServer, Reply};
use sevenhops::timeout::Timeouts;
use sevenhops::{
    Client, DeadlineLayer, Effect, Error, Hop, Operation, RetryLayer, StandardLayer, Transport,
};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

use crate::net::{Net, url};

const DEADLINE: Duration = Duration::from_secs(10);
type Charge = Request<Full<Bytes>>;

/// A charge, and the services behind it.
struct Shop {
    net: Net,
    server: FaultServer,
    nobody: ClosedPort,
    client: Client,
}

impl Shop {
    async fn new() -> Self {
        let net = Net::new().await;
        let server = FaultServer::builder().start().await.unwrap();
        let (nobody, client) = (ClosedPort::new().unwrap(), net.client());
        Self {
            net,
            server,
            nobody,
            client,
        }
    }

    fn transport(&self) -> Transport {
        let builder = Transport::builder(Timeouts::new(DEADLINE).unwrap());
        let resolver = self.net.dns.resolver();
        builder.resolver(resolver).build().unwrap()
    }

    fn charges(&self) -> String {
        url(&self.server, "http")
    }

    /// Returns a URL whose port has no listener.
    fn audits(&self) -> String {
        format!("http://api.test:{}/audits", self.nobody.addr().port())
    }

    /// Checks that the request was sent once, and that the error does not deny it.
    fn assert_open(&self, error: &Error) {
        assert_eq!(self.server.requests_seen(), 1, "{error}");
        assert_eq!(error.effect(), Effect::Possible, "{error}");
    }
}

fn post(url: &str) -> Charge {
    Request::post(url).body(Full::from("amount=100")).unwrap()
}

fn standard() -> StandardLayer {
    let retry = RetryConfig::new().unsent_attempts(3);
    StandardLayer::from_config(&sevenhops::Config::new(DEADLINE).retry(retry)).unwrap()
}

fn ok() -> Response<Full<Bytes>> {
    Response::new(Full::default())
}

#[tokio::test]
async fn own_request_of_a_layer_proves_nothing_about_the_forwarded_one() {
    let shop = Shop::new().await;
    let (transport, audits) = (shop.transport(), shop.audits());
    let audited = service_fn(|charge: Charge| {
        let (transport, client) = (transport.clone(), shop.client.clone());
        let audit = client.post(&audits).body("charged");
        async move {
            let answer = transport.oneshot(charge).await?;
            audit.send().await?;
            Ok::<_, Error>(answer)
        }
    });
    let charge = standard().layer(audited).oneshot(post(&shop.charges()));
    shop.assert_open(&charge.await.map(drop).unwrap_err());
}

#[tokio::test]
async fn refused_failover_target_proves_nothing_about_the_first_target() {
    let shop = Shop::new().await;
    let lost = || shop.server.on_request([Reply::CloseAfterRequest]);
    let places = [shop.charges(), shop.audits()].map(|url| url.parse::<Uri>().unwrap());
    let inner = standard().layer(shop.transport());
    // The same request, sent by an inner stack.
    let fails_over = service_fn(|charge: Charge| {
        let (inner, [one, other]) = (inner.clone(), places.clone());
        async move {
            let [mut first, mut second] = [charge.clone(), charge];
            (*first.uri_mut(), *second.uri_mut()) = (one, other);
            match inner.clone().oneshot(first).await {
                Ok(answer) => Ok(answer),
                Err(_) => inner.oneshot(second).await,
            }
        }
    });
    lost();
    let charge = standard().layer(fails_over).oneshot(post(&shop.charges()));
    shop.assert_open(&charge.await.map(drop).unwrap_err());
}

#[tokio::test]
async fn rejecting_inner_stack_proves_nothing_about_the_earlier_transport() {
    let shop = Shop::new().await;
    shop.server.on_request([Reply::CloseAfterRequest]);
    let (transport, audits) = (shop.transport(), shop.audits().parse::<Uri>().unwrap());
    let inner = standard().layer(shop.transport());
    let fails_over = service_fn(|charge: Charge| {
        let (transport, inner) = (transport.clone(), inner.clone());
        let mut second = charge.clone();
        *second.uri_mut() = audits.clone();
        async move {
            match transport.oneshot(charge).await {
                Ok(_) => Ok(ok()),
                Err(_) => inner.oneshot(second).await.map(|_| ok()),
            }
        }
    });
    let charge = standard().layer(fails_over).oneshot(post(&shop.charges()));
    shop.assert_open(&charge.await.map(drop).unwrap_err());
}

/// Fails over between two services: this crate's transport is refused, and a foreign client sends.
async fn after_refusal(shop: &Shop, foreign: reqwest::Client, reply: Reply) -> Error {
    shop.server.on_request([reply]);
    let there = format!("http://{}/v1/charges", shop.server.addr());
    let transport = shop.transport();
    let fails_over = service_fn(|charge: Charge| {
        let refused = transport.clone().oneshot(charge);
        let second = foreign.post(&there).body("amount=100");
        async move {
            match refused.await {
                Ok(_) => Ok(ok()),
                Err(_) => second.send().await.map(|_| ok()),
            }
        }
    });
    let timeouts = TimeoutsConfig::new().attempt(Duration::from_millis(300));
    let settings = sevenhops::Config::new(DEADLINE).timeouts(timeouts);
    let charge = StandardLayer::from_config(&settings)
        .unwrap()
        .layer(fails_over);
    let charge = charge.oneshot(post(&shop.audits()));
    charge.await.map(drop).unwrap_err()
}

fn foreign(shop: &Shop) -> reqwest::Client {
    let tls = shop.net.authority.client_config();
    let foreign = reqwest::Client::builder().tls_backend_preconfigured(tls);
    foreign.build().unwrap()
}

#[tokio::test]
async fn refused_transport_proves_nothing_about_the_later_client() {
    for reply in [
        Reply::CloseAfterRequest,
        Reply::ResetAfterRequest,
        Reply::Silent,
    ] {
        let shop = Shop::new().await;
        let error = after_refusal(&shop, foreign(&shop), reply.clone()).await;
        shop.assert_open(&error);
        assert_eq!(error.hop(), Some(Hop::Server), "{reply:?}: {error}");
        let timeline = error.timeline().unwrap().to_string();
        assert!(timeline.contains("✗ refused"), "{timeline}");
    }
}

#[tokio::test]
async fn dropped_transport_proves_nothing_about_the_later_client() {
    let shop = Shop::new().await;
    shop.server.on_request([Reply::Silent]);
    shop.net.dns.set("slow.test", DnsScript::Silent);
    let (transport, foreign) = (shop.transport(), foreign(&shop));
    let there = format!("http://{}/v1/charges", shop.server.addr());
    let fails_over = service_fn(|charge: Charge| {
        let slow = transport.clone().oneshot(charge);
        let second = foreign.post(&there).body("amount=100");
        async move {
            let mut slow = Box::pin(slow);
            let polled = poll_fn(|cx| Poll::Ready(slow.as_mut().poll(cx))).await;
            assert!(polled.is_pending(), "DNS says nothing");
            drop(slow);
            second.send().await.map(|_| ok())
        }
    });
    let timeouts = TimeoutsConfig::new().attempt(Duration::from_millis(300));
    let settings = sevenhops::Config::new(DEADLINE).timeouts(timeouts);
    let charge = StandardLayer::from_config(&settings)
        .unwrap()
        .layer(fails_over);
    let error = charge.oneshot(post("http://slow.test/")).await;
    shop.assert_open(&error.map(drop).unwrap_err());
}

#[tokio::test]
async fn attempt_that_expires_while_a_transport_tries_again_had_no_effect() {
    let shop = Shop::new().await;
    let transport = shop.transport();
    shop.net.dns.set("gone.test", DnsScript::NxDomain);
    shop.net.dns.set("slow.test", DnsScript::Silent);
    let fails_over = service_fn(|charge: Charge| {
        let transport = transport.clone();
        let mut second = charge.clone();
        *second.uri_mut() = "http://slow.test/".parse().unwrap();
        async move {
            match transport.clone().oneshot(charge).await {
                Ok(_) => Ok(ok()),
                Err(_) => transport.oneshot(second).await.map(|_| ok()),
            }
        }
    });
    let timeouts = TimeoutsConfig::new().attempt(Duration::from_millis(300));
    let settings = sevenhops::Config::new(DEADLINE).timeouts(timeouts);
    let charge = StandardLayer::from_config(&settings)
        .unwrap()
        .layer(fails_over);
    let error = charge.oneshot(post("http://gone.test/")).await;
    let error = error.map(drop).unwrap_err();
    assert_eq!(
        (error.hop(), error.effect()),
        (Some(Hop::Dns), Effect::None),
        "{error}"
    );
}

#[tokio::test]
async fn refused_client_of_a_failover_proves_nothing_about_the_first_one() {
    let shop = Shop::new().await;
    shop.server.on_request([Reply::CloseAfterRequest]);
    let fails_over = service_fn(|_: Charge| {
        let [one, other] = [shop.charges(), shop.audits()].map(|url| shop.client.post(url));
        async move {
            match one.body("amount=100").send().await {
                Ok(_) => Ok(ok()),
                Err(_) => other.body("amount=100").send().await.map(|_| ok()),
            }
        }
    });
    let charge = standard().layer(fails_over).oneshot(post(&shop.charges()));
    shop.assert_open(&charge.await.map(drop).unwrap_err());
}

#[tokio::test]
async fn call_without_records_of_its_attempts_proves_nothing() {
    let shop = Shop::new().await;
    let charges = AtomicU32::new(0);
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(DEADLINE).unwrap())
        .layer(RetryLayer::new(RetryConfig::new()).unwrap())
        .service(service_fn(|_: Charge| {
            charges.fetch_add(1, Ordering::Relaxed);
            let audit = shop.client.post(shop.audits()).send();
            async move { audit.await.map(|_| ok()) }
        }));
    let error = service.oneshot(post(&shop.charges())).await.map(drop);
    let error = error.unwrap_err();
    assert_eq!(charges.into_inner(), 1);
    assert_eq!(error.effect(), Effect::Possible, "{error}");
}

#[tokio::test]
async fn outer_stack_retries_a_request_that_inner_stacks_could_not_send() {
    let shop = Shop::new().await;
    let made = AtomicU32::new(0);
    let inner = standard().layer(shop.transport());
    let counted = service_fn(|charge: Charge| {
        made.fetch_add(1, Ordering::Relaxed);
        inner.clone().oneshot(charge)
    });
    let error = standard().layer(counted).oneshot(post(&shop.audits()));
    assert_eq!(error.await.map(drop).unwrap_err().effect(), Effect::None);
    assert_eq!(made.into_inner(), 3);
}

/// Charges, then asks for a receipt at a port without a listener.
async fn with_receipt<T, E>(shop: &Shop, charge: impl AsyncFn(Charge) -> Result<T, E>) -> Error
where
    E: std::error::Error + Send + Sync + 'static,
{
    let operation = Operation::new("payments", DEADLINE).unwrap();
    let run = operation.run(async |_| {
        charge(post(&shop.charges()))
            .await
            .map_err(OperationError::from_error)?;
        let receipt = shop.client.post(shop.audits()).send();
        receipt.await.map_err(OperationError::from_error)
    });
    run.await.map(drop).unwrap_err()
}

#[tokio::test]
async fn unsent_second_request_proves_nothing_about_the_first_one() {
    let shop = Shop::new().await;
    let transport = shop.transport();
    let error = with_receipt(&shop, async |charge| {
        transport.clone().oneshot(charge).await
    });
    shop.assert_open(&error.await);

    let shop = Shop::new().await;
    let call = DeadlineLayer::new(DEADLINE)
        .unwrap()
        .layer(shop.transport());
    let error = with_receipt(&shop, async |charge| call.clone().oneshot(charge).await);
    shop.assert_open(&error.await);

    let shop = Shop::new().await;
    let foreign =
        reqwest::Client::builder().tls_backend_preconfigured(shop.net.authority.client_config());
    let foreign = foreign.build().unwrap();
    let there = format!("http://{}/v1/charges", shop.server.addr());
    let followed = DeadlineLayer::new(DEADLINE)
        .unwrap()
        .layer(service_fn(|_: Charge| {
            let charge = foreign.post(&there).body("amount=100").send();
            async move { charge.await.map(|_| ok()) }
        }));
    let by_call = with_receipt(&shop, async |charge| followed.clone().oneshot(charge).await);
    shop.assert_open(&by_call.await);
}

#[tokio::test]
async fn call_in_an_unrecorded_task_proves_nothing() {
    let shop = Shop::new().await;
    let operation = Operation::new("payments", DEADLINE).unwrap();
    let run = operation.run(async |_| {
        // The operation learns of this request.
        shop.client.get(shop.audits()).send().await.unwrap_err();
        let [charge, receipt] = [shop.charges(), shop.audits()].map(|url| shop.client.post(url));
        let both = tokio::spawn(async {
            charge.body("amount=100").send().await?;
            receipt.send().await
        });
        both.await?.map_err(OperationError::from_error)
    });
    shop.assert_open(&run.await.map(drop).unwrap_err());
}

#[tokio::test]
async fn generated_key_permits_no_retry_where_it_is_passed_on() {
    let once = RetryConfig::new().attempts(1);
    let settings = || OperationConfig::new(DEADLINE).retry(once.clone());
    let unvouched = Operation::from_config("payments", settings()).unwrap();
    let denied = Operation::from_config("payments", settings()).unwrap();
    let vouched = Operation::from_config("payments", settings()).unwrap();
    for (operation, charges) in [
        (unvouched, 1),
        (denied.honors_idempotency_keys(false), 1),
        (vouched.honors_idempotency_keys(true), 3),
    ] {
        let shop = Shop::new().await;
        shop.server
            .on_request((0..9).map(|_| Reply::CloseAfterRequest));
        let run = operation.run(async |attempt| {
            let charge = shop.client.post(shop.charges()).body("amount=100");
            let charge = charge
                .options(|options| options.idempotency_key(attempt.idempotency_key().clone()));
            charge.send().await.map_err(OperationError::from_error)
        });
        let error = run.await.map(drop).unwrap_err();
        assert_eq!(shop.server.requests_seen(), charges, "{error}");
        assert_eq!(error.effect(), Effect::Possible, "{error}");
    }
}
