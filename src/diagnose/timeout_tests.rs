//! Tests timeouts that another crate made.

use std::io;
use std::time::Duration;

use super::*;
use crate::clock;
use crate::hop::Unacknowledged;
use crate::telemetry::AttemptSpans;
use crate::timeout::Timeouts;

/// Returns an attempt that waits for a response.
fn waiting(is_tracked: bool) -> Tracker {
    let timeouts = Timeouts::new(Duration::from_secs(10)).unwrap();
    let tracker = Tracker::new(timeouts, AttemptSpans::default(), clock::now());
    if is_tracked {
        tracker.begin();
        tracker.connecting(None);
        tracker.connected();
        assert!(tracker.take());
        tracker.sent_all();
    } else {
        tracker.waiting(clock::now());
    }
    tracker
}

/// The timeout of a service that the user wrote.
async fn elapsed() -> tokio::time::error::Elapsed {
    let never = std::future::pending::<()>();
    let elapsed = tokio::time::timeout(Duration::from_secs(1), never).await;
    elapsed.unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn timer_of_the_users_code_is_a_timeout_and_not_a_silent_peer() {
    let expected = (Some(Hop::Server), Kind::Timeout, Effect::Possible);
    let told = |error: &(dyn StdError + 'static)| {
        let alone = Diagnosis::foreign(error).or_at(Hop::Server);
        // A timer of the user may also be around a transport that reports.
        let [over_foreign, over_ours] = [false, true].map(|is| diagnose(&waiting(is), error));
        for found in [alone, over_foreign, over_ours] {
            assert_eq!((found.hop, found.kind, found.effect), expected, "{error}");
        }
    };
    told(&elapsed().await);
    told(&io::Error::from(elapsed().await));
    told(&io::Error::new(io::ErrorKind::TimedOut, "of my own"));
}

#[tokio::test(start_paused = true)]
async fn connection_that_the_peer_does_not_acknowledge_is_no_timeout_of_the_server() {
    let expected = (Some(Hop::Send), Kind::Unacknowledged, Effect::Possible);
    let by_kernel = || io::Error::from_raw_os_error(TIMED_OUT);
    let by_ping = || io::Error::new(io::ErrorKind::TimedOut, Unacknowledged);
    for is_tracked in [false, true] {
        for error in [by_kernel(), by_ping()] {
            let found = diagnose(&waiting(is_tracked), &error);
            assert_eq!((found.hop, found.kind, found.effect), expected, "{error}");
        }
    }
}

/// `ETIMEDOUT`.
#[cfg(target_os = "linux")]
const TIMED_OUT: i32 = 110;
#[cfg(not(target_os = "linux"))]
const TIMED_OUT: i32 = 60;
