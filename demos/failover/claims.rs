//! The claims on the client, and their measures.

use std::time::Duration;

use crate::caller::Who;
use crate::stage::{Case, ENDS, MOVES, MOVES_BACK, NEW, OLD, Report, TTL};

/// A sentence about the runs, and whether it is true.
pub(crate) struct Claim {
    pub(crate) text: String,
    pub(crate) measured: String,
    pub(crate) holds: bool,
}

/// All claims.
pub(crate) fn claims(reports: &[Report]) -> Vec<Claim> {
    vec![
        traffic_moved(reports),
        nothing_goes_to_who_was_left(reports),
        no_call_fails(reports),
        reqwest_stays(reports),
    ]
}

/// Otherwise the other claims would be true for a client that sends nothing.
fn traffic_moved(reports: &[Report]) -> Claim {
    let full = |report: &Report| {
        let arrived = |at, from, until| report.books.arrived_at(at, from, until);
        let expected = |from: Duration, until: Duration| (until - from).as_secs_f64() * 20.0;
        let well = |at, from, until| arrived(at, from, until) as f64 >= expected(from, until);
        well(OLD, Duration::ZERO, MOVES)
            && well(NEW, MOVES + LATEST, MOVES_BACK)
            && well(OLD, MOVES_BACK + LATEST, ENDS)
    };
    let moved = of(reports, Who::Ours).filter(|report| full(report)).count();
    let all = of(reports, Who::Ours).count();
    Claim {
        text: String::from("ours: the traffic moves to where the record says, and back"),
        measured: format!("in {moved} of {all} runs"),
        holds: moved == all && all > 0,
    }
}

fn nothing_goes_to_who_was_left(reports: &[Report]) -> Claim {
    let latest = of(reports, Who::Ours).flat_map(|report| {
        let left = |address, from, until| {
            (
                report.books.last_to(address, from, until) - from,
                report.case,
            )
        };
        [left(OLD, MOVES, MOVES_BACK), left(NEW, MOVES_BACK, FOREVER)]
    });
    let (latest, case) = latest.max_by_key(|(latest, _)| *latest).unzip();
    Claim {
        text: format!(
            "ours: no request begun after TTL + one refresh ({LATEST:?}) goes to the address that was left"
        ),
        measured: format!(
            "the last one {:.2} s after the move, in {}",
            latest.unwrap_or_default().as_secs_f64(),
            case.map(named).unwrap_or_default()
        ),
        holds: latest.is_some_and(|latest| latest <= LATEST),
    }
}

fn no_call_fails(reports: &[Report]) -> Claim {
    let calls: usize = of(reports, Who::Ours)
        .map(|report| report.books.calls)
        .sum();
    let failed = of(reports, Who::Ours).flat_map(|report| {
        let failed = report.books.failed.iter();
        failed.map(|(at, why)| {
            format!(
                "\n{}, at {:.2} s: {why}",
                named(report.case),
                at.as_secs_f64()
            )
        })
    });
    let failed: Vec<_> = failed.collect();
    let shown: String = failed.iter().take(MOST_SHOWN).map(String::as_str).collect();
    Claim {
        text: String::from("ours: with 3 attempts and a deadline of 5 s no call fails"),
        measured: format!("{} of {calls}{shown}", failed.len()),
        holds: failed.is_empty() && calls > 0,
    }
}

/// This is not a criticism. If it were otherwise, the first phase would show nothing.
fn reqwest_stays(reports: &[Report]) -> Claim {
    let (from, until) = (MOVES + LATEST, MOVES_BACK - LATEST);
    let arrived = |at| {
        let arrived = of(reports, Who::Reqwest);
        let arrived = arrived.map(|report| report.books.arrived_at(at, from, until));
        arrived.sum::<usize>()
    };
    let (old, new) = (arrived(OLD), arrived(NEW));
    let failed: usize = of(reports, Who::Reqwest)
        .map(|report| report.books.failed.len())
        .sum();
    Claim {
        text: String::from("the experiment shows something: plain reqwest stays with the old one"),
        measured: format!(
            "{old} requests to it and {new} to the new one, long after the first move; {failed} calls failed after the second"
        ),
        holds: old > new,
    }
}

fn of(reports: &[Report], who: Who) -> impl Iterator<Item = &Report> {
    let of = move |report: &&Report| report.case.who == who;
    reports.iter().filter(of)
}

fn named(case: Case) -> String {
    format!("{}, new {}", case.mode.as_str(), case.dark.as_str())
}

/// The refresh is a query on loopback and takes a millisecond. The rest is for requests that have begun and are not
/// counted yet, because the servers are read every 40 ms. It also allows for a busy machine.
const LATEST: Duration = TTL.saturating_add(Duration::from_millis(250));
/// Calls that begin at the end arrive later.
const FOREVER: Duration = Duration::from_secs(60);
const MOST_SHOWN: usize = 3;
