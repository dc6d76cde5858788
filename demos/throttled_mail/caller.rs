//! The sender of the mails: this client, or plain reqwest that tries again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;
use sevenhops::{
    CircuitBreakerConfig, Client, Effect, RetryConfig, Timeline, dns,
    policy::retry::{Backoff, Budget},
    testing::TestCa,
};

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::Result;
use crate::api::Mail;

/// The outcome of one mail, as its caller sees it.
#[derive(Clone, Debug)]
pub(crate) struct Belief {
    pub(crate) mail: u32,
    pub(crate) of: Outcome,
    pub(crate) took: Duration,
}

#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Sent,
    /// The effect, if the client can tell, and the sentence of the error.
    Failed(Option<Effect>, String),
}

#[derive(Clone)]
pub(crate) enum Caller {
    Ours(Box<Client>, Longest),
    /// The control: it soon sends every failed request again, as many clients do.
    Naive(reqwest::Client),
}

/// The call that took the most attempts.
type Longest = Arc<Mutex<Option<Timeline>>>;

impl Caller {
    pub(crate) fn ours() -> Result<Self> {
        let longest = Longest::default();
        let keep = Arc::clone(&longest);
        let tls = TestCa::new()?.client_config();
        let client = Client::builder(DEADLINE)
            .config(|config| {
                config.retry(
                    RetryConfig::new()
                        .attempts(20)
                        // The API's hints are longer.
                        .backoff(Backoff::new().cap(Duration::from_secs(1)))
                        // Here the API's own quota bounds the retries.
                        .budget(Budget::unlimited()),
                )
            })
            // A quarter of the requests that the quota lets through goes wrong here all the time. The breaker judges
            // every attempt as usual, and rejects none.
            .config(|config| config.circuit_breaker(CircuitBreakerConfig::new().observe_only(true)))
            .on_complete(move |timeline| {
                let mut longest = keep.lock().unwrap_or_else(PoisonError::into_inner);
                let before = longest.as_ref().map_or(0, Timeline::attempt_count);
                if timeline.attempt_count() > before {
                    *longest = Some(timeline.clone());
                }
            })
            // Neither is used here: there is no lookup and no TLS. The system may have none.
            .transport(|transport| transport.resolver(dns::StaticResolver::new()).tls(tls))
            .build()?;
        Ok(Self::Ours(Box::new(client), longest))
    }

    pub(crate) fn naive() -> Result<Self> {
        let client = reqwest::Client::builder()
            .timeout(DEADLINE)
            .no_proxy()
            .tls_backend_preconfigured(TestCa::new()?.client_config())
            .build()?;
        Ok(Self::Naive(client))
    }

    /// Sends these mails, all at once.
    pub(crate) async fn send(&self, url: &str, mails: impl Iterator<Item = u32>) -> Vec<Belief> {
        let mut sending = JoinSet::new();
        for mail in mails {
            let (caller, url) = (self.clone(), url.to_owned());
            sending.spawn(async move {
                let begun = Instant::now();
                let of = match &caller {
                    Self::Ours(client, _) => ours(client, &url, mail).await,
                    Self::Naive(client) => naive(client, &url, mail).await,
                };
                let took = begun.elapsed();
                Belief { mail, of, took }
            });
        }
        let mut beliefs = sending.join_all().await;
        beliefs.sort_by_key(|belief| belief.mail);
        beliefs
    }

    /// The timeline of the call with the most attempts.
    pub(crate) fn longest(&self) -> Option<String> {
        let Self::Ours(_, longest) = self else {
            return None;
        };
        let longest = longest.lock().unwrap_or_else(PoisonError::into_inner);
        longest.as_ref().map(Timeline::to_string)
    }
}

/// Asks the API whether a mail went out.
pub(crate) async fn went_out(caller: &Caller, url: &str, mail: u32) -> Result<bool> {
    let Caller::Ours(client, _) = caller else {
        return Err("the control looks nothing up".into());
    };
    let answer = client.get(format!("{url}/{mail}")).send().await?;
    Ok(answer.status() == StatusCode::OK)
}

async fn ours(client: &Client, url: &str, mail: u32) -> Outcome {
    // A POST carries an idempotency key. The client does not assume that the API honors it, and the API does not.
    match client.post(url).json(&written(mail)).fetch_bytes().await {
        Ok(_) => Outcome::Sent,
        Err(error) => Outcome::Failed(Some(error.effect()), error.to_string()),
    }
}

/// "It failed, so try again."
async fn naive(client: &reqwest::Client, url: &str, mail: u32) -> Outcome {
    let key = fastrand::u128(..).to_string();
    let mut said = String::new();
    for _ in 0..NAIVE_ATTEMPTS {
        match once(client, url, (mail, &key)).await {
            Ok(StatusCode::UNPROCESSABLE_ENTITY) => {
                return Outcome::Failed(None, String::from("no such address"));
            }
            Ok(status) if status.is_success() => return Outcome::Sent,
            Ok(status) => said = status.to_string(),
            Err(error) => said = error.to_string(),
        }
        sleep(NAIVE_BACKOFF).await;
    }
    Outcome::Failed(None, said)
}

async fn once(client: &reqwest::Client, url: &str, (mail, key): (u32, &str)) -> Result<StatusCode> {
    let body = serde_json::to_vec(&written(mail))?;
    let request = client.post(url).header("idempotency-key", key).body(body);
    Ok(request.send().await?.status())
}

fn written(reference: u32) -> Mail {
    let to = format!("customer-{reference}@shop.test");
    Mail { reference, to }
}

/// The deadline of a call: long enough for the last mail in the queue.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
/// For six seconds, a second longer than the queue lasts.
const NAIVE_ATTEMPTS: u32 = 60;
const NAIVE_BACKOFF: Duration = Duration::from_millis(100);
