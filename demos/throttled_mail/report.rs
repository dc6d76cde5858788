//! Compares the API's books with the client's results.

use std::time::Duration;

use sevenhops::Effect;

use crate::MAILS;
use crate::caller::{Belief, DEADLINE, Outcome};
use crate::ledger::{Counts, Ledger, is_deliverable};
use crate::settle::Round;

/// A claim, its measure, and whether it holds.
pub(crate) struct Claim {
    pub(crate) text: &'static str,
    pub(crate) measured: String,
    pub(crate) holds: bool,
}

/// How many mails have this result for the client, and what the books say about them.
#[derive(Clone, Copy, Default)]
struct Line {
    sent: usize,
    not_sent: usize,
}

impl Line {
    fn calls(&self) -> usize {
        self.sent + self.not_sent
    }
}

/// The rows of the reconciliation, as the books were when the calls had ended.
pub(crate) struct Reconciled([Line; ROWS.len()]);

impl Reconciled {
    pub(crate) fn new(beliefs: &[Belief], ledger: &Ledger) -> Self {
        let mut lines = [Line::default(); ROWS.len()];
        for Belief { mail, of, .. } in beliefs {
            let line = &mut lines[row(of)];
            match ledger.sent(*mail) {
                0 => line.not_sent += 1,
                _ => line.sent += 1,
            }
        }
        Self(lines)
    }

    pub(crate) fn print(&self) {
        println!("what the client believes               and what the books say");
        println!("{:>34}{:>10}{:>12}", "mails", "sent", "not sent");
        for (name, line) in ROWS.iter().zip(&self.0) {
            let (calls, Line { sent, not_sent }) = (line.calls(), line);
            if calls > 0 {
                println!("  {name:<24}{calls:>8}{sent:>10}{not_sent:>12}");
            }
        }
        println!();
    }
}

const ROWS: [&str; 6] = [
    "sent",
    "failed, effect none",
    "failed, effect declined",
    "failed, effect possible",
    "failed, effect done",
    "failed, effect unknown",
];

fn row(of: &Outcome) -> usize {
    match of {
        Outcome::Sent => 0,
        Outcome::Failed(Some(Effect::None), _) => 1,
        Outcome::Failed(Some(Effect::Declined), _) => 2,
        Outcome::Failed(Some(Effect::Possible), _) => 3,
        Outcome::Failed(Some(Effect::Done), _) => 4,
        Outcome::Failed(None, _) => 5,
    }
}

pub(crate) fn print_counts(counts: &Counts) {
    let [seconds, date, quota] = counts.throttled;
    println!("what the API did");
    for (name, count) in [
        ("requests to send a mail", counts.arrived),
        ("  with an idempotency key, ignored", counts.with_key),
        ("throttled: Retry-After in seconds", seconds),
        ("throttled: Retry-After as a date", date),
        ("throttled: RateLimit alone", quota),
        ("arrived earlier than they were asked to", counts.early),
        ("no such address (422)", counts.rejected),
        ("closed before the mail went out", counts.dropped),
        ("mails that went out", counts.sent),
        ("  and the response lost, or a 504", counts.lost),
    ] {
        println!("  {name:<42}{count:>7}");
    }
    println!();
}

pub(crate) fn print_rounds(rounds: &[Round]) {
    println!("what is in doubt is looked up, and sent again if it did not go out");
    for Round {
        in_doubt,
        had_gone_out,
    } in rounds
    {
        let again = in_doubt - had_gone_out;
        println!("  {in_doubt} in doubt: {had_gone_out} had gone out, {again} sent again");
    }
    println!();
}

/// The error of a mail that may have gone out.
pub(crate) fn in_doubt(beliefs: &[Belief]) -> Option<&str> {
    beliefs.iter().find_map(|belief| match &belief.of {
        Outcome::Failed(Some(Effect::Possible), said) => Some(said.as_str()),
        Outcome::Failed(..) | Outcome::Sent => None,
    })
}

/// The claims on this client's calls, before the uncertain mails are settled.
pub(crate) fn claims_of_calls(
    beliefs: &[Belief],
    reconciled: &Reconciled,
    ledger: &Ledger,
) -> Vec<Claim> {
    let counts = ledger.counts();
    let Reconciled([succeeded, none, declined, possible, ..]) = reconciled;
    let (throttled, let_through) = ledger.throttled();
    let longest = longest(beliefs);
    vec![
        shows_something(counts),
        Claim {
            text: "every mail that was throttled was let through within the deadline of its call",
            measured: format!(
                "{let_through} of {throttled}; the longest call took {longest:.1?} of {DEADLINE:?}"
            ),
            holds: let_through == throttled && throttled > 0 && longest <= DEADLINE,
        },
        Claim {
            text: "what the client calls sent was sent",
            measured: format!("{} of {}", succeeded.sent, succeeded.calls()),
            holds: succeeded.not_sent == 0 && succeeded.sent > 0,
        },
        Claim {
            text: "what it says had no effect was not sent",
            measured: format!("{} of {}", none.not_sent, none.calls()),
            holds: none.sent == 0 && none.not_sent > 0,
        },
        Claim {
            text: "what the API declined was not sent",
            measured: format!("{} of {}", declined.not_sent, declined.calls()),
            holds: declined.sent == 0 && declined.not_sent > 0,
        },
        Claim {
            text: "every mail whose answer was lost is reported as effect possible",
            measured: format!("{} of {}", possible.sent, counts.lost),
            holds: possible.sent == counts.lost as usize,
        },
    ]
}

/// The claims after the uncertain mails are settled.
pub(crate) fn claims_in_the_end(ledger: &Ledger) -> Vec<Claim> {
    let counts = ledger.counts();
    let deliverable = || (1..=MAILS).filter(|mail| is_deliverable(*mail));
    let reached = deliverable().filter(|mail| ledger.sent(*mail) > 0).count();
    vec![
        Claim {
            text: "no request arrived earlier than the API had asked for",
            measured: format!("{} of {}", counts.early, counts.arrived),
            holds: counts.early == 0,
        },
        Claim {
            text: "no mail went out twice",
            measured: format!("{} of {MAILS}", ledger.sent_twice()),
            holds: ledger.sent_twice() == 0,
        },
        Claim {
            text: "everybody whose address exists got one",
            measured: format!("{reached} of {}", deliverable().count()),
            holds: reached == deliverable().count(),
        },
    ]
}

/// The claims on the control.
pub(crate) fn claims_of_control(ledger: &Ledger) -> Vec<Claim> {
    let counts = ledger.counts();
    vec![
        shows_something(counts),
        Claim {
            text: "blind retries send mails twice",
            measured: format!("{} of them", ledger.sent_twice()),
            holds: ledger.sent_twice() > 0,
        },
        Claim {
            text: "impatient retries arrive earlier than the API asked for",
            measured: format!("{} of {}", counts.early, counts.arrived),
            holds: counts.early > 0,
        },
    ]
}

/// Otherwise the other claims would be true for a client that meets no fault.
fn shows_something(counts: Counts) -> Claim {
    let throttled = counts.throttled;
    Claim {
        text: "the experiment shows something: answers were lost, and all three hints were given",
        measured: format!(
            "{} lost, {} throttled",
            counts.lost,
            throttled.iter().sum::<u32>()
        ),
        holds: counts.lost > 0 && !throttled.contains(&0),
    }
}

fn longest(beliefs: &[Belief]) -> Duration {
    let longest = beliefs.iter().map(|belief| belief.took).max();
    longest.unwrap_or_default()
}
