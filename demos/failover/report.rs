//! The tables.

use std::time::Duration;

use crate::caller::Who;
use crate::stage::{ENDS, MOVES, MOVES_BACK, NEW, OLD, Report};

pub(crate) fn print(reports: &[Report]) {
    let (moves, back) = (MOVES.as_secs(), MOVES_BACK.as_secs());
    println!(
        "requests to old and new, and calls that failed, by the second; the record moves to new at {moves},"
    );
    println!("and back at {back}, when new goes dark");
    for report in reports {
        let case = report.case;
        if case.who == Who::Ours {
            println!("\n{}, new {}", case.mode.as_str(), case.dark.as_str());
            let seconds = seconds().map(|second| second.as_secs().to_string());
            print_row("second", "", seconds);
        }
        let books = &report.books;
        let next = |second| second + Duration::from_secs(1);
        let arrived = |at| move |second| books.arrived_at(at, second, next(second));
        let who = case.who.as_str();
        print_row(who, "old", seconds().map(arrived(OLD)).map(shown));
        print_row("", "new", seconds().map(arrived(NEW)).map(shown));
        let failed = seconds().map(|second| books.failed_in(second, next(second)));
        print_row("", "failed", failed.map(shown));
    }
    println!();
}

fn print_row(who: &str, what: &str, numbers: impl Iterator<Item = String>) {
    let numbers: String = numbers.map(|number| format!("{number:>5}")).collect();
    println!("{who:<8} {what:<6}{numbers}");
}

/// Nothing stands out less than a nought.
fn shown(number: usize) -> String {
    match number {
        0 => String::from("."),
        number => number.to_string(),
    }
}

fn seconds() -> impl Iterator<Item = Duration> {
    (0..ENDS.as_secs()).map(Duration::from_secs)
}
