use super::*;
use crate::timeout::LONGEST;

const SECS: fn(u64) -> Duration = Duration::from_secs;

#[test]
fn defaults_build_for_every_deadline_from_10_ms_to_24_h() {
    let mut deadline = Duration::from_millis(10);
    while deadline <= LONGEST {
        let timeouts = Timeouts::new(deadline).unwrap();
        let config = CircuitBreakerConfig::new();
        assert!(config.check(&timeouts).is_ok());
        let FailureWindow::Time(length) = config.get_window(&timeouts) else {
            panic!("the default is a time");
        };
        assert_eq!(length, SECS(10).max(timeouts.attempt() * 2));
        deadline = deadline * 3 / 2;
    }
}

#[test]
fn table_of_defaults_is_the_constants() {
    use crate::registry::{IDLE, MOST_DESTINATIONS};
    let doc = concat!(
        include_str!("config.rs"),
        include_str!("../../layer/breaker.rs")
    );
    let (shortest, open, longest) = (
        SHORTEST_WINDOW.as_secs(),
        BREAK_DURATION.as_secs(),
        MAX_BREAK_DURATION.as_secs(),
    );
    let jitter = super::super::rules::JITTER * 100.0;
    for row in [
        format!("| `failure_ratio` | {FAILURE_RATIO} |"),
        format!("| `min_attempts` | {MIN_ATTEMPTS} |"),
        format!("| `window` | {shortest} s, or twice the attempt timeout if that is longer |"),
        format!(
            "| `break_duration` | {open} s, twice as long after each failed probe, plus up to {jitter} % jitter |"
        ),
        format!("| `max_break_duration` | {longest} s |"),
        format!("| `recovery` | {PROBES} successful probe |"),
        format!(
            "The breaker keeps up to {most} destinations. If there are more, it first removes those that were idle for {} s.",
            IDLE.as_secs(),
            most = MOST_DESTINATIONS
        ),
    ] {
        assert!(doc.contains(&format!("/// {row}\n")), "{row}");
    }
}
