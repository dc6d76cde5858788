//! The claims on the client, and their measures.

use crate::drama::{BACK, MOST_HEALING, Row, Scene, back};
use crate::world::Second;

/// A sentence about the run, and whether it is true.
pub(crate) struct Claim {
    pub(crate) text: String,
    pub(crate) measured: String,
    pub(crate) holds: bool,
}

/// All claims.
pub(crate) fn claims(rows: &[Row]) -> Vec<Claim> {
    vec![
        set_aside(rows, Scene::Slow, "is slow"),
        comes_back(rows, Scene::Healed, "was slow"),
        set_aside(rows, Scene::Failing, "fails a third"),
        comes_back(rows, Scene::HealedAgain, "failed"),
        few_calls_fail(rows),
        turns_suffer(rows),
    ]
}

fn set_aside(rows: &[Row], bad: Scene, how: &str) -> Claim {
    let share = share(noticed(rows, bad).map(|row| &row.ours));
    Claim {
        text: format!(
            "ours: after {NOTICED} s at most a tenth of the requests goes to the zone that {how}"
        ),
        measured: format!("{:.1} %", share * 100.0),
        holds: share <= 0.1,
    }
}

fn comes_back(rows: &[Row], healed: Scene, what: &str) -> Claim {
    let of: Vec<_> = rows
        .iter()
        .filter(|row| row.scene == healed)
        .cloned()
        .collect();
    let back = back(&of);
    Claim {
        text: format!(
            "ours: the zone that {what} has {:.0} % of the requests again within {MOST_HEALING} s of being well",
            BACK * 100.0
        ),
        measured: back.map_or_else(|| String::from("never"), |after| format!("after {after} s")),
        holds: back.is_some_and(|after| after <= MOST_HEALING),
    }
}

/// Not zero: before the failing zone is set aside, a call can reach it three times in a row.
fn few_calls_fail(rows: &[Row]) -> Claim {
    let failed: usize = rows.iter().map(|row| row.ours.failed).sum();
    let control: usize = rows.iter().map(|row| row.turns.failed).sum();
    Claim {
        text: String::from("ours: of the calls that fail in turns, at most one in twenty fails"),
        measured: format!("{failed}, and {control} in turns"),
        holds: failed * 20 <= control && control > 0,
    }
}

/// Otherwise there would be nothing to set aside.
fn turns_suffer(rows: &[Row]) -> Claim {
    let slow = || noticed(rows, Scene::Slow);
    let share = share(slow().map(|row| &row.turns));
    let worst = |second: fn(&Row) -> &Second| {
        let worst = slow().map(|row| second(row).percentile(99));
        worst.max().unwrap_or_default().as_millis()
    };
    Claim {
        text: String::from(
            "the experiment shows something: in turns, a third goes to the slow zone",
        ),
        measured: format!(
            "{:.1} %; the worst p99 of a second is {} ms, and {} ms with it set aside",
            share * 100.0,
            worst(|row| &row.turns),
            worst(|row| &row.ours),
        ),
        holds: share > 0.3,
    }
}

/// Returns the seconds of a scene after the time that the client needs to notice.
fn noticed(rows: &[Row], scene: Scene) -> impl Iterator<Item = &Row> {
    let of = rows.iter().filter(move |row| row.scene == scene);
    of.skip(NOTICED)
}

/// Returns the share of zone 3.
fn share<'a>(seconds: impl Iterator<Item = &'a Second>) -> f64 {
    let (there, all) = seconds.fold((0, 0), |(there, all), second| {
        let requests = &second.requests;
        let third = requests.get(2).copied().unwrap_or_default();
        (there + third, all + requests.iter().sum::<usize>())
    });
    if all == 0 {
        return f64::NAN;
    }
    there as f64 / all as f64
}

/// In seconds.
const NOTICED: usize = 5;
