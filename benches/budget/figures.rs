//! The figures of a call, and their budget.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Deserialize;

use crate::valgrind::Counts;

/// A figure of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    Instructions,
    Misses,
    Allocations,
    HeapBytes,
    ClockReadings,
}

impl Figure {
    const ALL: [Self; 5] = [
        Self::Instructions,
        Self::Misses,
        Self::Allocations,
        Self::HeapBytes,
        Self::ClockReadings,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Instructions => "instructions",
            Self::Misses => "misses",
            Self::Allocations => "allocations",
            Self::HeapBytes => "heap-bytes",
            Self::ClockReadings => "clock-readings",
        }
    }

    /// Returns the part of its budget that a figure may be above it. Two runs differ by less.
    const fn slack(self) -> f64 {
        match self {
            Self::Instructions => 0.01,
            Self::Misses => 0.03,
            Self::HeapBytes => 0.02,
            Self::Allocations => 0.0,
            // A read more or less, where the response takes many.
            Self::ClockReadings => 0.03,
        }
    }

    const fn of(self, counts: &Counts) -> f64 {
        match self {
            Self::Instructions => counts.instructions,
            Self::Misses => counts.misses,
            Self::Allocations => counts.allocations,
            Self::HeapBytes => counts.heap_bytes,
            Self::ClockReadings => counts.clock_readings,
        }
    }
}

/// The other crate that is measured in the same run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// Over loopback.
    Reqwest,
    /// In memory. All of it fits into the first caches, so its misses say nothing about ours.
    TowerResilience,
}

impl Peer {
    /// Returns the value that has a budget: a ratio with three decimals, or a whole number of this crate alone.
    fn compare(self, figure: Figure, ours: f64, peer: f64) -> f64 {
        match (figure, self) {
            (Figure::Instructions, _) | (Figure::Misses, Self::Reqwest) => {
                (ours / peer * 1000.0).round() / 1000.0
            }
            _ => ours.round(),
        }
    }
}

/// A measured figure.
#[derive(Debug)]
pub(crate) struct Measured {
    call: String,
    figure: Figure,
    ours: f64,
    peer: f64,
    /// The part that has a budget: ours, or its ratio to the peer's.
    value: f64,
}

impl Measured {
    /// Returns the figures of a call, beside those of a peer.
    pub(crate) fn all(call: &str, ours: &Counts, (peer, counts): (Peer, &Counts)) -> Vec<Self> {
        let measured = |figure: Figure| {
            let (ours, theirs) = (figure.of(ours), figure.of(counts));
            Self {
                call: call.into(),
                figure,
                ours,
                peer: theirs,
                value: peer.compare(figure, ours, theirs),
            }
        };
        Figure::ALL.map(measured).into()
    }
}

/// The budget of a figure.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Held {
    budget: f64,
    /// The value that the crate wants to reach.
    goal: Option<f64>,
}

/// The budgets of all figures, by call and figure.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Budget(BTreeMap<String, BTreeMap<String, Held>>);

impl Budget {
    pub(crate) fn read(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// Returns whether all of these figures are within their budgets.
    pub(crate) fn holds(&self, measured: &[Measured]) -> bool {
        let is_within = |one| self.of(one).is_none_or(|held| verdict(one, held) != OVER);
        measured.iter().all(is_within)
    }

    /// Prints the table. Returns whether all figures are within their budgets.
    ///
    /// # Errors
    ///
    /// Fails if a figure has no budget, or a budget no figure.
    pub(crate) fn print(&self, measured: &[Measured]) -> Result<bool, String> {
        println!(
            "{:<30}{:<16}{:>12}{:>12}{:>10}{:>10}  {:<8}goal",
            "call", "figure", "peer", "ours", "budget", "now", ""
        );
        let mut is_within = true;
        let mut missing = Vec::new();
        for one in measured {
            let name = one.figure.name();
            let Some(held) = self.of(one) else {
                missing.push(format!("{}: {name} = {}", one.call, one.value));
                continue;
            };
            let verdict = verdict(one, held);
            is_within &= verdict != OVER;
            println!(
                "{:<30}{name:<16}{:>12.1}{:>12.1}{:>10}{:>10}  {verdict:<8}{}",
                one.call,
                one.peer,
                one.ours,
                held.budget,
                one.value,
                gap(one, held),
            );
        }
        let held: usize = self.0.values().map(BTreeMap::len).sum();
        if !missing.is_empty() {
            return Err(format!("no budget for:\n{}", missing.join("\n")));
        }
        match held == measured.len() {
            true => Ok(is_within),
            false => Err(String::from(
                "there are budgets of figures that are not measured",
            )),
        }
    }

    /// Returns the file with the measured figures. The goals stay.
    pub(crate) fn updated(&self, measured: &[Measured]) -> String {
        let mut file = String::from(HEAD);
        let mut call = "";
        for one in measured {
            if call != one.call {
                call = &one.call;
                let _ = write!(file, "\n[{call}]\n");
            }
            let goal = self.of(one).and_then(|held| held.goal);
            let goal = goal.map_or_else(String::new, |goal| format!(", goal = {goal}"));
            let (name, value) = (one.figure.name(), one.value);
            let _ = writeln!(file, "{name} = {{ budget = {value}{goal} }}");
        }
        file
    }

    fn of(&self, measured: &Measured) -> Option<&Held> {
        self.0.get(&measured.call)?.get(measured.figure.name())
    }
}

fn verdict(measured: &Measured, held: &Held) -> &'static str {
    let slack = held.budget * measured.figure.slack();
    match measured.value {
        value if value > held.budget + slack => OVER,
        value if value < held.budget - slack => "less",
        _ => "",
    }
}

/// Returns the goal, and how far it is.
fn gap(measured: &Measured, held: &Held) -> String {
    held.goal
        .map_or_else(String::new, |goal| match measured.value / goal - 1.0 {
            over if over > 0.0 => format!("{goal}: {:.0} % above", over * 100.0),
            _ => format!("{goal}: reached"),
        })
}

const OVER: &str = "OVER";
const HEAD: &str = "\
# The cost of a call, held by `.ci/budget`. Only a commit that gives the reason may change a budget.
#
# Instructions and misses (I1 + D1 + LL) are relative to the peer in the same run: bare reqwest over loopback,
# tower-resilience in memory. The others are counts of this crate, and so are the misses in memory. The slack is 1 % for
# instructions, 2 % for bytes of the heap, 3 % for misses and readings of the clock, and none for allocations.
# A goal is the value that the crate wants to reach. The table of `.ci/budget` shows how far it is.
";
