//! The claims, and their measures.

use std::time::Duration;

use crate::draw::millis;
use crate::run::{OWN, Run, SET_UP};
use crate::service::ROUND_TRIP;

/// A sentence about the visits, and whether it is true.
pub(crate) struct Claim {
    pub(crate) text: String,
    pub(crate) measured: String,
    pub(crate) holds: bool,
}

/// Two visits: one asks the services in turn, one at once.
pub(crate) struct Pair {
    pub(crate) in_turn: Run,
    pub(crate) at_once: Run,
}

/// All claims.
pub(crate) fn claims(cold: &Pair, warm: &Pair, cut: &Run) -> Vec<Claim> {
    let mut claims = vec![stages(cold, SERVICES, "cold"), stages(warm, 0, "warm")];
    claims.push(setup(cold, warm));
    for (pair, how) in [(cold, "cold"), (warm, "warm")] {
        claims.extend([
            sum(&pair.in_turn, how),
            longest(&pair.at_once, how),
            ratio(pair, how),
        ]);
    }
    let all = [
        &cold.in_turn,
        &cold.at_once,
        &warm.in_turn,
        &warm.at_once,
        cut,
    ];
    claims.extend([deadlines(&all), cut_short(cut, &warm.in_turn)]);
    claims
}

fn stages(pair: &Pair, expected: usize, how: &str) -> Claim {
    let entered = |run: &Run| SET_UP.map(|stage| run.entered(stage));
    let (in_turn, at_once) = (entered(&pair.in_turn), entered(&pair.at_once));
    Claim {
        text: format!(
            "{how}: {expected} lookups, {expected} connects, {expected} handshakes a page"
        ),
        measured: format!("{in_turn:?} in turn, {at_once:?} at once"),
        holds: in_turn == [expected; 3]
            && at_once == [expected; 3]
            && [&pair.in_turn, &pair.at_once].map(|run| run.steps.len()) == [SERVICES; 2],
    }
}

/// The stages themselves are compared, because a busy machine changes the totals.
fn setup(cold: &Pair, warm: &Pair) -> Claim {
    let (spent, warm) = (cold.in_turn.setup(), warm.in_turn.setup());
    Claim {
        text: String::from(
            "in turn, cold: each step pays a round trip and more for its connection",
        ),
        measured: format!(
            "{} of {}, and {} when warm",
            millis(spent),
            millis(cold.in_turn.took),
            millis(warm)
        ),
        holds: spent >= ROUND_TRIP * SERVICES as u32 && warm.is_zero(),
    }
}

fn sum(run: &Run, how: &str) -> Claim {
    let sum: Duration = run.calls().sum();
    Claim {
        text: format!("{how}, in turn: the page takes as long as all calls together"),
        measured: format!("{}, and they {}", millis(run.took), millis(sum)),
        holds: run.took >= sum && run.took <= sum.mul_f64(1.25),
    }
}

fn longest(run: &Run, how: &str) -> Claim {
    let longest = run.calls().max().unwrap_or_default();
    Claim {
        text: format!("{how}, at once: it takes about as long as the longest"),
        measured: format!("{}, and that one {}", millis(run.took), millis(longest)),
        holds: run.took >= longest && run.took <= longest.mul_f64(1.5),
    }
}

/// With the services' own time alone it would be 4.5.
fn ratio(pair: &Pair, how: &str) -> Claim {
    let Pair { in_turn, at_once } = pair;
    let ratio = in_turn.took.as_secs_f64() / at_once.took.as_secs_f64();
    Claim {
        text: format!("{how}: the staircase takes at least twice as long"),
        measured: format!("{ratio:.1} times"),
        holds: ratio >= 2.0,
    }
}

/// By the headers that the services received.
fn deadlines(runs: &[&Run]) -> Claim {
    let (mut asked, mut within) = (0, 0);
    for run in runs {
        for step in &run.steps {
            let left = run.told.saturating_sub(step.begun);
            asked += step.told.len();
            let fits = step.told.iter().flatten().filter(|told| **told <= left);
            within += fits.count();
        }
    }
    Claim {
        text: format!(
            "no service is told more time than its visitor had left (the page's own deadline is {OWN:?})"
        ),
        measured: format!("{within} of {asked} requests"),
        holds: within == asked && asked > 0,
    }
}

fn cut_short(cut: &Run, whole: &Run) -> Claim {
    let answered = cut.steps.iter().filter(|step| step.is_answered()).count();
    let late = cut.steps.iter().filter(|step| step.begun >= cut.told);
    let late: usize = late.map(|step| step.told.len()).sum();
    let left = millis(cut.told);
    Claim {
        text: format!(
            "a visitor with {left} left: the staircase ends with them, and the rest is never asked"
        ),
        measured: format!(
            "{} of {SERVICES} calls begun, {answered} answered, {late} sent too late, after {} all is over",
            cut.steps.len(),
            millis(cut.took)
        ),
        holds: cut.steps.len() < SERVICES
            && late == 0
            && cut.failure.is_some()
            && cut.took < whole.took,
    }
}

const SERVICES: usize = 6;
