//! A thousand charges, and the client's result of each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sevenhops::{
    Blame, CircuitBreakerConfig, Client, Effect, IdempotencyConfig, IdempotencyKey, Kind,
    RetryConfig, TimeoutsConfig, dns,
    policy::retry::{Backoff, Budget},
    testing::TestCa,
};

use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::Result;
use crate::ledger::Charge;

/// The outcome of one charge, as its caller sees it.
#[derive(Clone, Debug)]
pub(crate) struct Belief {
    pub(crate) order: u32,
    pub(crate) of: Outcome,
}

#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// By this charge.
    Charged(String),
    /// The effect, if the client can tell, and the sentence of the error.
    Failed(Option<Effect>, String),
}

/// The client that makes the charges.
#[derive(Clone)]
pub(crate) enum Caller {
    Ours(Box<Client>),
    /// The control: it sends every failed request again, as many clients do.
    Naive(reqwest::Client),
}

#[derive(serde::Deserialize)]
struct Receipt {
    id: String,
}

impl Caller {
    /// The crate's client; `honoring` is the origin that honors keys.
    pub(crate) fn ours(honoring: Option<&str>) -> Result<Self> {
        let mut keys = IdempotencyConfig::new();
        if let Some(origin) = honoring {
            keys = keys.honored_by(origin.parse()?);
        }
        let tls = TestCa::new()?.client_config();
        let client = Client::builder(Duration::from_secs(5))
            // Short, so that silence costs little. Longer than any response takes.
            .config(|config| config.timeouts(TimeoutsConfig::new().attempt(ATTEMPT)))
            // Two requests in five go wrong here all the time, which no real service does. The demo is about keys and
            // effects, so nothing else may decide whether a charge is retried.
            .config(|config| {
                config.retry(
                    RetryConfig::new()
                        .attempts(ATTEMPTS)
                        .backoff(Backoff::new().base(BACKOFF).cap(BACKOFF * 10))
                        .budget(Budget::unlimited()),
                )
            })
            // It judges every attempt as usual, and rejects none.
            .config(|config| {
                config
                    .circuit_breaker(CircuitBreakerConfig::new().observe_only(true))
                    .idempotency(keys)
            })
            // Neither is used here: there is no lookup and no TLS. The system may have none.
            .transport(|transport| transport.resolver(dns::StaticResolver::new()).tls(tls))
            .build()?;
        Ok(Self::Ours(Box::new(client)))
    }

    pub(crate) fn naive() -> Result<Self> {
        let client = reqwest::Client::builder()
            .timeout(ATTEMPT)
            .no_proxy()
            .tls_backend_preconfigured(TestCa::new()?.client_config())
            .build()?;
        Ok(Self::Naive(client))
    }

    async fn charge(&self, url: &str, charge: &Charge) -> Outcome {
        match self {
            Self::Ours(client) => {
                let request = client.post(url).json(charge);
                match request.fetch_json::<Receipt>().await {
                    Ok(receipt) => Outcome::Charged(receipt.id),
                    Err(error) => {
                        // If either of the two says "none", this is compared with the books.
                        let effect = match error.had_no_effect() {
                            true => Effect::None,
                            false => error.effect(),
                        };
                        Outcome::Failed(Some(effect), error.to_string())
                    }
                }
            }
            Self::Naive(client) => naive(client, url, charge).await,
        }
    }
}

/// Pays one order, then another amount with the same key. Returns whether the service refused the second request as the
/// caller's mistake.
pub(crate) async fn reuse_key(client: &Client, origin: &str) -> Result<bool> {
    let mut second = None;
    for cents in [100, 200] {
        let order = CHARGES + 1;
        let request = client.post(format!("{origin}/v1/charges"));
        let key = IdempotencyKey::new("order-of-mine")?;
        let request = request.options(|options| options.idempotency_key(key));
        let answered = request.json(&Charge { order, cents }).fetch_bytes().await;
        second = answered.err();
    }
    Ok(second
        .is_some_and(|error| (error.kind(), error.blame()) == (Kind::KeyReused, Blame::Client)))
}

/// "It failed, so try again."
async fn naive(client: &reqwest::Client, url: &str, charge: &Charge) -> Outcome {
    let mut said = String::new();
    for _ in 0..ATTEMPTS {
        match once(client, url, charge).await {
            Ok(receipt) => return Outcome::Charged(receipt.id),
            Err(error) => said = error.to_string(),
        }
        if said.starts_with("declined") {
            break;
        }
        sleep(BACKOFF).await;
    }
    Outcome::Failed(None, said)
}

async fn once(client: &reqwest::Client, url: &str, charge: &Charge) -> Result<Receipt> {
    let body = serde_json::to_vec(charge)?;
    let response = client.post(url).body(body).send().await?;
    if response.status().is_client_error() {
        return Err("declined".into());
    }
    let body = response.error_for_status()?.bytes().await?;
    Ok(serde_json::from_slice(&body)?)
}

/// Makes all charges, [`CALLERS`] at a time.
pub(crate) async fn run(caller: &Caller, origin: &str) -> Result<Vec<Belief>> {
    let next = Arc::new(AtomicU32::new(1));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (caller, next) = (caller.clone(), Arc::clone(&next));
        let url = format!("{origin}/v1/charges");
        callers.spawn(async move {
            let mut beliefs = Vec::new();
            loop {
                let order = next.fetch_add(1, Ordering::Relaxed);
                if order > CHARGES {
                    return beliefs;
                }
                let cents = 100 + order;
                let of = caller.charge(&url, &Charge { order, cents }).await;
                beliefs.push(Belief { order, of });
            }
        });
    }
    let mut beliefs = callers.join_all().await.concat();
    beliefs.sort_by_key(|belief| belief.order);
    Ok(beliefs)
}

pub(crate) const CHARGES: u32 = 1_000;
/// Enough for the callers to share the pool, few enough for two cores.
const CALLERS: usize = 32;
const ATTEMPT: Duration = Duration::from_millis(400);
/// Enough for each call to get a response in the end. A closed port refuses several connects in a row, and a key in use
/// refuses several requests.
const ATTEMPTS: u32 = 25;
const BACKOFF: Duration = Duration::from_millis(20);
