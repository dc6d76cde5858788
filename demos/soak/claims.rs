//! The claims on the client, and their measures.

use sevenhops::policy::breaker::CircuitState;

use crate::stock::{Account, Footprint, Stock};
use crate::traffic::Counts;

/// The figures of a whole run.
pub(crate) struct Soak {
    pub(crate) before: Footprint,
    pub(crate) began: Stock,
    /// One entry for each minute.
    pub(crate) each: Vec<Counts>,
    pub(crate) ended: Stock,
    /// Without the client.
    pub(crate) after: Footprint,
}

/// A sentence about the run, and whether it is true.
pub(crate) struct Claim {
    pub(crate) text: &'static str,
    pub(crate) measured: String,
    pub(crate) holds: bool,
}

/// All claims.
pub(crate) fn claims(soak: &Soak) -> Vec<Claim> {
    let (began, ended) = (&soak.began.footprint, &soak.ended.footprint);
    vec![
        traffic_was_mixed(soak),
        Claim {
            text: "no task is left",
            measured: format!("{} after {}", ended.tasks, began.tasks),
            holds: ended.tasks <= began.tasks,
        },
        Claim {
            text: "no descriptor is left",
            measured: format!("{} after {}", ended.descriptors, began.descriptors),
            holds: ended.descriptors <= began.descriptors,
        },
        resident(began, ended),
        Claim {
            text: "with the client its tasks and descriptors are gone",
            measured: format!(
                "{} and {} after {} and {}",
                soak.after.tasks,
                soak.after.descriptors,
                soak.before.tasks,
                soak.before.descriptors
            ),
            holds: soak.after.tasks <= soak.before.tasks
                && soak.after.descriptors <= soak.before.descriptors,
        },
        permits(&soak.ended),
        circuits(&soak.ended),
        budgets(soak),
        latency(soak),
        cpu(soak),
    ]
}

/// Otherwise the other claims would be true for a client that does nothing.
fn traffic_was_mixed(soak: &Soak) -> Claim {
    let least = |count: fn(&Counts) -> u64| soak.each.iter().map(count).min().unwrap_or_default();
    let least = [
        least(|counts| counts.succeeded),
        least(|counts| counts.failed),
        least(|counts| counts.rejected),
        least(|counts| counts.dropped),
    ];
    let [succeeded, failed, rejected, dropped] = least;
    Claim {
        text: "each minute has calls that succeed, fail, are rejected and are dropped",
        measured: format!("at least {succeeded}, {failed}, {rejected} and {dropped}"),
        holds: least.iter().all(|count| *count > 0),
    }
}

fn resident(began: &Footprint, ended: &Footprint) -> Claim {
    let (began, ended) = (began.resident_kib, ended.resident_kib);
    let most = began + began / RESIDENT_PART + RESIDENT_KIB;
    Claim {
        text: "resident memory is where it was, give or take an eighth and 4 MiB for the allocator",
        measured: format!("{ended} KiB after {began} KiB"),
        holds: ended <= most,
    }
}

fn permits(ended: &Stock) -> Claim {
    let all = ended.accounts.len();
    let well = ended
        .accounts
        .iter()
        .filter(|account| account.has_all_permits);
    let well = well.count();
    Claim {
        text: "each destination has all of its permits",
        measured: format!("{well} of {all}"),
        holds: well == all && all > 0,
    }
}

fn circuits(ended: &Stock) -> Claim {
    let is_open = |account: &&Account| account.circuit != CircuitState::Closed;
    let open = ended.accounts.iter().filter(is_open).count();
    Claim {
        text: "each circuit has closed again",
        measured: format!("{open} have not"),
        holds: open == 0,
    }
}

fn budgets(soak: &Soak) -> Claim {
    let retries = |stock: &Stock| {
        let retries = stock.accounts.iter().map(|account| account.retries);
        retries.collect::<Vec<_>>()
    };
    let (began, ended) = (retries(&soak.began), retries(&soak.ended));
    let missing = began
        .iter()
        .zip(&ended)
        .filter(|(began, ended)| ended < began);
    let missing = missing.count();
    Claim {
        text: "each budget affords as many retries as before",
        measured: format!("{missing} do not"),
        holds: missing == 0,
    }
}

/// If the machine became slower, the plain client shows how much.
fn latency(soak: &Soak) -> Claim {
    let (first, last) = first_and_last(soak);
    let ratio = last.p99.as_secs_f64() / first.p99.as_secs_f64();
    let control = last.control_p99.as_secs_f64() / first.control_p99.as_secs_f64();
    Claim {
        text: "p99 of the last minute is at most 1.2 times that of the first, or that of the machine",
        measured: format!("{ratio:.2} times; the plain client {control:.2} times"),
        holds: ratio <= SLOWER * control.max(1.0),
    }
}

fn cpu(soak: &Soak) -> Claim {
    let (first, last) = first_and_last(soak);
    let ratio = last.cpu_of_a_call().as_secs_f64() / first.cpu_of_a_call().as_secs_f64();
    Claim {
        text: "a call of the last minute takes at most 1.2 times the CPU time of one of the first",
        measured: format!("{ratio:.2} times"),
        holds: ratio <= SLOWER,
    }
}

fn first_and_last(soak: &Soak) -> (Counts, Counts) {
    let of = |counts: Option<&Counts>| counts.copied().unwrap_or_default();
    (of(soak.each.first()), of(soak.each.last()))
}

const SLOWER: f64 = 1.2;
const RESIDENT_PART: u64 = 8;
const RESIDENT_KIB: u64 = 4 << 10;
