//! Makes the call, and compares the report with the facts.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::time::Duration;

use sevenhops::hop::Outcome;
use sevenhops::{Effect, Error, Hop, Kind, Timeline};

use super::cases::{Case, Repeat, Setting};
use super::world::{Broken, CANARY, Connection, PATH, Result, Stage, World};

/// The outcome of one fault.
pub(crate) struct Report {
    pub(crate) error: Option<Error>,
    pub(crate) timeline: Option<Timeline>,
    /// How many requests the server counted, and how many were sent according to the timeline.
    pub(crate) requests: (usize, usize),
    pub(crate) right: bool,
}

impl Report {
    /// The reported failure: that of the first attempt, or of the call if there was none.
    pub(crate) fn named(&self) -> Option<(Hop, Kind, Effect)> {
        let first = self.timeline.as_ref()?.attempts().into_iter().next();
        match (first.map(|first| first.outcome()), &self.error) {
            (
                Some(Outcome::Failed {
                    hop, kind, effect, ..
                }),
                _,
            ) => Some((hop?, kind, effect)),
            (_, Some(error)) => Some((error.hop()?, error.kind(), error.effect())),
            (_, None) => None,
        }
    }
}

/// Causes the fault, and makes the call.
///
/// The scheduler decides whether a connection is back in the pool in time for the next call. If it was not, the fault
/// was not the intended one, and the case runs again.
pub(crate) async fn run(case: &Case, world: &World) -> Result<Report> {
    let mut report = once(case, world).await?;
    let most = match case.setting {
        Setting::ClosedBefore => MOST_RACES,
        _ => MOST_TRIES,
    };
    for _ in 1..most {
        let first = report.timeline.iter().flat_map(Timeline::attempts).next();
        let other = match (case.connection, &case.setting) {
            (Connection::Pooled, _) => first.is_some_and(|first| !first.is_reused()),
            // The client may notice the close a moment after the connection took the request.
            (_, Setting::ClosedBefore) => first.is_some_and(|first| first.is_taken()),
            _ => false,
        };
        if !other {
            break;
        }
        report = once(case, world).await?;
    }
    Ok(report)
}

const MOST_TRIES: usize = 50;
/// The server's close and the client's first write race each other, and on an idle machine the write is often first.
const MOST_RACES: usize = 5_000;

async fn once(case: &Case, world: &World) -> Result<Report> {
    let stage = case.stage(world).await?;
    if stage.primed {
        stage.client.get(&stage.url).send().await?.bytes().await?;
    }
    let before = seen(&stage);
    let called = call(&stage).await;
    let (error, timeline) = match called {
        Ok(timeline) => (None, timeline),
        Err(error) => {
            let timeline = error.timeline().cloned();
            (Some(error), timeline)
        }
    };
    let attempts = timeline.iter().flat_map(Timeline::attempts);
    let sent = attempts.filter(|attempt| attempt.is_taken()).count();
    let requests = (seen(&stage) - before, sent);
    Ok(Report {
        right: is_right(case, error.as_ref(), timeline.as_ref()) && requests.0 == requests.1,
        error,
        timeline,
        requests,
    })
}

/// Returns whether the failure has the right name, was retried if that is allowed, and was reported.
fn is_right(case: &Case, error: Option<&Error>, timeline: Option<&Timeline>) -> bool {
    let (hop, kind, effect) = case.expected;
    let attempts = timeline.map(Timeline::attempts).unwrap_or_default();
    // If a retry succeeded, the failure is in the timeline only.
    let named = match (error, attempts.first()) {
        (Some(error), _) => {
            (error.hop(), error.kind(), error.effect()) == (Some(hop), kind, effect)
        }
        (None, Some(first)) => matches!(
            first.outcome(),
            Outcome::Failed { hop: h, kind: k, effect: e, .. } if (h, k, e) == (Some(hop), kind, effect)
        ),
        (None, None) => false,
    };
    let repeated = attempts.len() > 1;
    let reused = attempts.first().is_none_or(|first| first.is_reused());
    named
        && repeated == (case.repeat == Repeat::Yes)
        && (error.is_some() || repeated)
        && (case.connection != Connection::Pooled || reused)
}

pub(crate) fn seen(stage: &Stage) -> usize {
    stage.server.as_ref().map_or(0, |server| {
        let requests = server.requests();
        // Other calls, which hold a stream, use another path.
        let ours = requests.iter().filter(|seen| seen.path() == PATH);
        ours.count()
    })
}

/// Makes the call as a user would write it.
pub(crate) async fn call(stage: &Stage) -> std::result::Result<Option<Timeline>, Error> {
    let mut request = stage
        .client
        .post(&stage.url)
        .bearer_auth(CANARY)
        .header("x-secret", CANARY)
        .body(body(stage));
    match stage.shape.broken {
        None => {}
        Some(Broken::Header) => request = request.header("x-broken", format!("{CANARY}\n")),
        // A map with keys that are not strings has no JSON form.
        Some(Broken::Body) => request = request.json(&HashMap::from([((1, 2), CANARY)])),
    }
    let response = request.send().await?.error_for_status()?;
    let timeline = response.timeline().cloned();
    response.json::<HashMap<String, bool>>().await?;
    Ok(timeline)
}

fn body(stage: &Stage) -> Vec<u8> {
    CANARY
        .bytes()
        .cycle()
        .take(stage.shape.body_bytes)
        .collect()
}

/// Returns plain reqwest's error for the same fault.
pub(crate) async fn plain_reqwest(case: &Case, world: &World) -> Result<String> {
    if matches!(case.setting, Setting::StreamLimit | Setting::Unwritable(_)) {
        return Ok("(not tried)".to_owned());
    }
    let stage = case.stage(world).await?;
    let url: reqwest::Url = stage.url.parse()?;
    let mut tls = world.authority.client_config();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .timeout(Duration::from_millis(1_500));
    if let (Some(host), Some(address)) = (url.host_str(), stage.address) {
        builder = builder.resolve(host, address);
    } else {
        builder = builder.dns_resolver(Ours(world.dns.resolver()));
    }
    if let Some(proxy) = &stage.proxy {
        builder = builder.proxy(reqwest::Proxy::all(proxy)?);
    }
    let client = builder.build()?;
    if stage.primed {
        client.get(url.clone()).send().await?.bytes().await?;
    }
    let answer = async {
        let response = client.post(url).body(body(&stage)).send().await?;
        let bytes = response.error_for_status()?.bytes().await?;
        Ok::<_, reqwest::Error>(bytes.len())
    };
    Ok(match answer.await {
        Ok(bytes) => format!("fine, {bytes} bytes"),
        Err(error) => flags(&error),
    })
}

fn flags(error: &reqwest::Error) -> String {
    let named = [
        ("timeout", error.is_timeout()),
        ("connect", error.is_connect()),
        ("request", error.is_request()),
        ("body", error.is_body()),
        ("decode", error.is_decode()),
        ("status", error.is_status()),
    ];
    let named: Vec<_> = named
        .iter()
        .filter(|flag| flag.1)
        .map(|flag| flag.0)
        .collect();
    let mut last: &dyn StdError = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    let cause = last.to_string().replace(CANARY, "…");
    format!("is_{}: {cause}", named.join(", is_"))
}

/// Makes reqwest use the scripted name server, too.
struct Ours(sevenhops::dns::Resolver);

impl reqwest::dns::Resolve for Ours {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        use sevenhops::dns::Resolve;
        let asking = self.0.resolve(name.as_str());
        Box::pin(async move {
            let answer = asking.answer().await?;
            let addresses: Vec<_> = answer
                .addresses()
                .iter()
                .map(|ip| (*ip, 0).into())
                .collect();
            let addresses: reqwest::dns::Addrs = Box::new(addresses.into_iter());
            Ok(addresses)
        })
    }
}
