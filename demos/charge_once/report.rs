//! Compares the server's books with the client's results.

use std::sync::atomic::Ordering;

use sevenhops::Effect;

use crate::Mode;
use crate::gateway;
use crate::ledger::{Counts, Ledger};
use crate::load::{Belief, Outcome};

/// A claim, and whether it holds.
pub(crate) struct Claim {
    pub(crate) text: &'static str,
    pub(crate) holds: bool,
}

impl Claim {
    pub(crate) fn new(text: &'static str, holds: bool) -> Self {
        Self { text, holds }
    }
}

/// How many charges have this result for the client, and what the books say about them.
#[derive(Clone, Copy, Default)]
struct Line {
    charged: usize,
    not_charged: usize,
    /// Succeeded by a charge that is not in the books for its order.
    wrong: usize,
}

impl Line {
    fn calls(&self) -> usize {
        self.charged + self.not_charged
    }
}

/// The rows of the reconciliation.
pub(crate) struct Reconciled {
    succeeded: Line,
    /// Failed, and the effect is none, declined, possible, done, or not known at all.
    failed: [Line; ROWS.len()],
}

impl Reconciled {
    pub(crate) fn new(beliefs: &[Belief], ledger: &Ledger) -> Self {
        let mut all = Self {
            succeeded: Line::default(),
            failed: [Line::default(); ROWS.len()],
        };
        for Belief { order, of } in beliefs {
            let charges = ledger.charges(*order);
            let line = match of {
                Outcome::Charged(id) => {
                    all.succeeded.wrong += usize::from(!charges.contains(id));
                    &mut all.succeeded
                }
                Outcome::Failed(effect, _) => &mut all.failed[row(*effect)],
            };
            if charges.is_empty() {
                line.not_charged += 1;
            } else {
                line.charged += 1;
            }
        }
        all
    }

    fn print(&self) {
        println!("what the client believes               and what the books say");
        println!("{:>34}{:>12}{:>14}", "calls", "charged", "not charged");
        print_line("succeeded", &self.succeeded);
        let naive = self.failed[4].calls() > 0;
        let rows = if naive { 4..5 } else { 0..4 };
        for (name, line) in ROWS[rows.clone()].iter().zip(&self.failed[rows]) {
            print_line(name, line);
        }
        println!();
    }
}

fn print_line(name: &str, line: &Line) {
    let (calls, charged, not_charged) = (line.calls(), line.charged, line.not_charged);
    println!("  {name:<24}{calls:>8}{charged:>12}{not_charged:>14}");
}

const ROWS: [&str; 5] = [
    "failed, effect none",
    "failed, effect declined",
    "failed, effect possible",
    "failed, effect done",
    "failed, effect unknown",
];

fn row(effect: Option<Effect>) -> usize {
    match effect {
        Some(Effect::None) => 0,
        Some(Effect::Declined) => 1,
        Some(Effect::Possible) => 2,
        Some(Effect::Done) => 3,
        None => 4,
    }
}

/// Prints what the gateway did between the client and the service.
pub(crate) fn print_gateway(counts: &gateway::Counts) {
    println!("what the gateway did");
    for (name, count) in [
        ("requests relayed", &counts.requests),
        ("sent again, the connection broke", &counts.sent_again),
        ("answered 502, it broke again", &counts.bad_gateway),
        ("answered 504", &counts.timed_out),
    ] {
        println!("  {name:<42}{:>7}", count.load(Ordering::Relaxed));
    }
    println!();
}

pub(crate) fn print(beliefs: &[Belief], reconciled: &Reconciled, ledger: &Ledger) {
    let counts = ledger.counts();
    let percent = 100.0 * f64::from(counts.lost) / f64::from(counts.charged.max(1));
    println!("what the server did");
    for (name, count) in before_the_work(&counts) {
        println!("  {name:<42}{count:>7}");
    }
    println!("  {:<42}{:>7}", "charged", counts.charged);
    println!(
        "  {:<42}{:>7}   {percent:.0} % of the charges made",
        "  and the response lost", counts.lost
    );
    for (name, count) in [
        ("  and the response broken off", counts.broken_off),
        ("answered from the key (replayed)", counts.replayed),
    ] {
        println!("  {name:<42}{count:>7}");
    }
    println!(
        "  {:<42}{:>7}\n",
        "orders charged twice",
        ledger.charged_twice()
    );
    reconciled.print();
    if let Some(sentence) = no_retry_reason(beliefs) {
        println!("for example:\n  {sentence}\n");
    }
}

/// The error of a call that was not retried because it could have happened twice.
fn no_retry_reason(beliefs: &[Belief]) -> Option<&str> {
    beliefs.iter().find_map(|belief| match &belief.of {
        Outcome::Failed(Some(Effect::Possible), said) if said.contains("not retried: POST") => {
            Some(said.as_str())
        }
        _ => None,
    })
}

fn before_the_work(counts: &Counts) -> [(&'static str, u32); 10] {
    [
        ("connections reset before a request", counts.slammed),
        ("times that no process listened", counts.shut),
        ("requests that arrived", counts.arrived),
        ("reset before the work", counts.reset),
        ("answered 503 before the work", counts.unavailable),
        ("kept in silence, never worked on", counts.silent),
        ("card declined (402)", counts.declined),
        ("key still in use (409)", counts.in_progress),
        ("key of another charge (422)", counts.key_reused),
        ("order paid already (409, 400, 403)", counts.paid),
    ]
}

/// The claims of this mode.
pub(crate) fn claims(mode: Mode, reconciled: &Reconciled, ledger: &Ledger) -> Vec<Claim> {
    let counts = ledger.counts();
    let twice = ledger.charged_twice();
    let [none, declined, possible, done, _] = reconciled.failed;
    let lost = counts.lost * 10 >= counts.charged;
    let mut claims = vec![Claim::new(
        "at least a tenth of the responses was lost",
        lost,
    )];
    if mode == Mode::Naive {
        claims.push(Claim::new(
            "blind retries charge a customer twice",
            twice > 0,
        ));
        return claims;
    }
    let wrong = reconciled.succeeded.not_charged + reconciled.succeeded.wrong;
    claims.extend([
        Claim::new("no customer was charged twice", twice == 0),
        Claim::new("every success is a charge in the books", wrong == 0),
        Claim::new("no effect: not charged", none.charged == 0),
        Claim::new("effect done: everybody was charged", done.not_charged == 0),
        Claim::new("one key an order", ledger.with_many_keys() == 0),
    ]);
    claims.push(match mode {
        Mode::Keyed => Claim::new("50 answers and more were replayed", counts.replayed >= 50),
        Mode::Keyless | Mode::Gateway | Mode::Naive => Claim::new(
            "some of the lost responses are reported as effect possible",
            possible.charged > 0,
        ),
    });
    let is_declined = declined.not_charged > 0;
    claims.extend(match mode {
        Mode::Gateway => vec![
            Claim::new(
                "50 charges and more were refused at their second copy",
                counts.paid >= 50,
            ),
            Claim::new(
                "such a 400 or 403 is \"declined\", by the word of the gateway",
                is_declined && declined.charged > 0,
            ),
        ],
        Mode::Keyed | Mode::Keyless | Mode::Naive => vec![Claim::new(
            "effect declined: not charged",
            is_declined && declined.charged == 0,
        )],
    });
    claims
}
