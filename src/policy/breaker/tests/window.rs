//! Tests of the window, with time by addition.

use std::time::Duration;

use super::super::rules::FailureWindow;
use super::super::window::{Mark, Recent, Tally};
use crate::clock;
use crate::hop::Hop;

const LENGTH: Duration = Duration::from_secs(10);
fn failure() -> Mark {
    Mark::failure(Some(Hop::Connect))
}

#[test]
fn mark_is_one_byte() {
    assert_eq!(size_of::<Mark>(), 1);
}

#[test]
fn age_of_the_window_is_out_and_just_below_is_in() {
    let start = clock::now();
    let mut recent = Recent::new(FailureWindow::Time(LENGTH), start);
    recent.record(failure(), start);
    let just_before = start + LENGTH - Duration::from_nanos(1);
    assert_eq!(recent.tally(just_before).failures(), 1);
    assert_eq!(recent.tally(start + LENGTH), Tally::default());
}

#[test]
fn tenth_that_is_too_old_falls_out_alone() {
    let start = clock::now();
    let mut recent = Recent::new(FailureWindow::Time(LENGTH), start);
    for second in 0..10 {
        recent.record(failure(), start + Duration::from_secs(second));
    }
    for gone in 0..=10_u64 {
        let now = start + LENGTH + Duration::from_secs(gone) - Duration::from_nanos(1);
        assert_eq!(
            recent.tally(now).attempts,
            10 - u32::try_from(gone).unwrap()
        );
    }
}

#[test]
fn long_silence_costs_no_more_than_a_short_one_and_forgets_all() {
    let start = clock::now();
    let mut recent = Recent::new(FailureWindow::Time(LENGTH), start);
    recent.record(failure(), start);
    let later = start + Duration::from_secs(365 * 24 * 60 * 60);
    recent.record(Mark::SUCCESS, later);
    assert_eq!(recent.tally(later).attempts, 1);
    assert_eq!(recent.tally(later + LENGTH), Tally::default());
}

#[test]
fn clock_read_before_anothers_does_not_go_back() {
    let start = clock::now();
    let mut recent = Recent::new(FailureWindow::Time(LENGTH), start);
    recent.record(Mark::SUCCESS, start + Duration::from_secs(5));
    recent.record(failure(), start);
    assert_eq!(recent.tally(start).attempts, 2);
    assert_eq!(recent.tally(start + LENGTH).attempts, 2);
}

#[test]
fn count_window_truly_slides() {
    let now = clock::now();
    let mut recent = Recent::new(FailureWindow::Count(4), now);
    for _ in 0..100_000 {
        recent.record(Mark::SUCCESS, now);
    }
    for failed in 1..=4 {
        recent.record(failure(), now);
        let tally = recent.tally(now);
        assert_eq!((tally.attempts, tally.failures()), (4, failed));
    }
    recent.record(Mark::SUCCESS.slow(true), now);
    let tally = recent.tally(now);
    assert_eq!((tally.failures(), tally.slow), (3, 1));
}

#[test]
fn recording_holds_no_more_memory_than_the_window_needs() {
    let now = clock::now();
    let mut recent = Recent::new(FailureWindow::Count(100), now);
    for _ in 0..100_000 {
        recent.record(Mark::SUCCESS, now);
    }
    assert!(recent.heap_bytes() <= 128);
    // A window of time has no part that could grow.
    assert!(size_of::<Recent>() <= 1_024);
}

#[test]
fn worst_hop_is_the_one_with_the_most_failures() {
    let now = clock::now();
    let mut recent = Recent::new(FailureWindow::Time(LENGTH), now);
    assert_eq!(recent.tally(now).worst(), None);
    for hop in [Hop::Tls, Hop::Server, Hop::Connect, Hop::Server] {
        recent.record(Mark::failure(Some(hop)), now);
    }
    assert_eq!(recent.tally(now).worst(), Some((Some(Hop::Server), 2)));
    recent.record(Mark::failure(Some(Hop::Connect)), now);
    assert_eq!(recent.tally(now).worst(), Some((Some(Hop::Connect), 2)));
}
