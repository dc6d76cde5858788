//! A payments service in two regions loses one of them under load.
//!
//! ```text
//! cargo run -p sevenhops-demos --bin two_regions
//! ```
//!
//! A client charges 100 orders a second for 6 s, by one logical name. After 2 s the first region is lost: its port
//! refuses, and the requests in progress lose their responses. After 4 s it is back. The regions share one ledger and
//! its idempotency keys, and the client knows that (`share_keys`). There are two runs: with the first region alone, and
//! with both.
//!
//! The claims on the runs are checked below the table. The program fails if one of them is wrong.

mod region;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use sevenhops::testing::{DnsScript, ScriptedDns};
use sevenhops::{Client, Effect, EndpointConfig, EndpointsConfig, IdempotencyConfig};
use tokio::task::JoinSet;
use tokio::time::interval;

use crate::region::{Ledger, Region};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The counts of a run.
#[derive(Debug, Default)]
struct Counts {
    paid: u32,
    failed: u32,
    /// Failures that report that the charge may have been made.
    possible: u32,
    failed_over: u32,
    /// Orders that were charged more than once.
    double: u32,
    /// Orders for which the client is wrong: "paid" or "done" but not charged, or "no effect" but charged.
    unreported: u32,
    /// Requests at the first region after its return, and at the second one.
    first_again: u32,
    second: u32,
}

/// The end of a call: its order, the effect that the client reports, and whether it failed over.
struct Call {
    order: String,
    paid: bool,
    effect: Effect,
    failed_over: bool,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    println!("run               paid  failed  of them possible  failed over  double  unreported");
    let mut counts = Vec::new();
    for (both, name) in [(false, "one region"), (true, "both regions")] {
        let all = play(both).await?;
        println!(
            "{name:<16} {:>5} {:>7} {:>17} {:>12} {:>7} {:>11}",
            all.paid, all.failed, all.possible, all.failed_over, all.double, all.unreported
        );
        counts.push(all);
    }
    let [one, both] = &counts[..] else {
        return Err("two runs".into());
    };
    println!();
    let claims = [
        ("no order is charged twice", one.double + both.double == 0),
        (
            "every charge is as the client says",
            one.unreported + both.unreported == 0,
        ),
        ("one region alone loses payments", one.failed > 0),
        (
            "with both regions 99 % are paid",
            both.paid * 100 >= (both.paid + both.failed) * 99 && both.failed_over > 0,
        ),
        (
            "the lost region is set aside: few calls fail over",
            both.failed_over * 5 < both.second,
        ),
        ("the lost region is used again", both.first_again > 0),
    ];
    let mut all = true;
    for (text, holds) in claims {
        println!("{}: {text}", if holds { "holds" } else { "WRONG" });
        all &= holds;
    }
    Ok(if all {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn play(both: bool) -> Result<Counts> {
    let dns = ScriptedDns::start().await?;
    let ledger = Ledger::default();
    let (mut first, second) = (Region::start(&ledger).await?, Region::start(&ledger).await?);
    for name in ["eu.test", "us.test"] {
        dns.set(name, DnsScript::addresses([[127, 0, 0, 1].into()]));
    }
    let at = |name: &str, region: &Region| {
        EndpointConfig::new(format!("http://{name}.test:{}", region.address.port()))
    };
    let mut endpoints = EndpointsConfig::new().share_keys(true);
    endpoints = endpoints.endpoint(at("eu", &first));
    if both {
        endpoints = endpoints.endpoint(at("us", &second).priority(1));
    }
    let client = Client::builder(Duration::from_secs(1))
        .transport(|transport| transport.resolver(dns.resolver()))
        .config(|config| {
            config
                .idempotency(IdempotencyConfig::new().honored_by_all(true))
                .endpoints("pay.internal", endpoints)
        })
        .build()?;
    let client = Arc::new(client);
    let (mut calls, mut ticks) = (JoinSet::new(), interval(EVERY));
    let mut before = 0;
    for number in 0..CALLS {
        ticks.tick().await;
        match number {
            LOST_AT => first.lose(),
            BACK_AT => {
                before = first.served();
                first.restore().await?;
            }
            _ => {}
        }
        let client = Arc::clone(&client);
        calls.spawn(async move { pay(&client, format!("order-{number}")).await });
    }
    let mut counts = Counts::default();
    for call in calls.join_all().await {
        counts.add(&call, ledger.charges(&call.order));
    }
    counts.first_again = first.served() - before;
    counts.second = second.served();
    Ok(counts)
}

async fn pay(client: &Client, order: String) -> Call {
    let request = client.post("http://pay.internal/v1/charges");
    let sent = request.body(order.clone()).send().await;
    match sent.and_then(sevenhops::Response::error_for_status) {
        Ok(response) => Call {
            order,
            paid: true,
            effect: Effect::Done,
            failed_over: failed_over(response.timeline()),
        },
        Err(error) => Call {
            order,
            paid: false,
            effect: error.effect(),
            failed_over: failed_over(error.timeline()),
        },
    }
}

fn failed_over(timeline: Option<&sevenhops::Timeline>) -> bool {
    use sevenhops::hop::TimelineEventKind::FailedOver;
    let events = timeline.map(sevenhops::Timeline::events);
    let mut events = events.into_iter().flatten();
    events.any(|event| matches!(event.kind, FailedOver { .. }))
}

impl Counts {
    fn add(&mut self, call: &Call, charges: u32) {
        self.paid += u32::from(call.paid);
        self.failed += u32::from(!call.paid);
        self.possible += u32::from(!call.paid && call.effect == Effect::Possible);
        self.failed_over += u32::from(call.failed_over);
        self.double += u32::from(charges > 1);
        let is_done = call.paid || call.effect == Effect::Done;
        let has_no_effect = matches!(call.effect, Effect::None | Effect::Declined);
        let is_wrong = is_done && charges == 0 || has_no_effect && charges > 0;
        self.unreported += u32::from(is_wrong);
    }
}

const CALLS: u32 = 600;
const EVERY: Duration = Duration::from_millis(10);
const LOST_AT: u32 = 200;
const BACK_AT: u32 = 400;
