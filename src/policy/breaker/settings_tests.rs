use super::*;

const SECS: fn(u64) -> Duration = Duration::from_secs;

fn refused(settings: Settings) -> String {
    let limits = Limits::new(SECS(10)).unwrap();
    settings.check(&limits).unwrap_err().to_string()
}

#[test]
fn t1_window_shorter_than_two_attempts_is_refused_with_both_values() {
    let limits = Limits::new(SECS(20)).unwrap();
    let short = Settings::new().window(Window::Time(SECS(20) - Duration::from_nanos(1)));
    assert_eq!(
        short.check(&limits).unwrap_err().to_string(),
        "breaker window of 19.999999999s is less than twice the attempt limit of 10s"
    );
    let exact = Settings::new().window(Window::Time(SECS(20)));
    assert!(exact.check(&limits).is_ok());
}

#[test]
fn t1_defaults_build_for_every_deadline_from_10_ms_to_24_h() {
    let mut deadline = Duration::from_millis(10);
    while deadline <= Limit::MAX.get() {
        let limits = Limits::new(deadline).unwrap();
        let settings = Settings::new();
        assert!(settings.check(&limits).is_ok());
        let (rules, _) = settings.resolve(&limits);
        let Window::Time(length) = rules.window else {
            panic!("the default is a time");
        };
        assert_eq!(length, SECS(10).max(limits.attempt().get() * 2));
        deadline = deadline * 3 / 2;
    }
}

#[test]
fn ratio_is_more_than_nothing_and_at_most_all() {
    for ratio in [0.0, -0.1, 1.000_001, f64::NAN, f64::INFINITY] {
        let settings = Settings::new;
        assert_eq!(
            refused(settings().failure_ratio(ratio)),
            format!("failure ratio of {ratio:?} is not within 0 (not included) to 1")
        );
        assert_eq!(
            refused(settings().slow_calls(SECS(1), ratio)),
            format!("slow ratio of {ratio:?} is not within 0 (not included) to 1")
        );
    }
}

#[test]
fn nonsense_is_refused_by_name_and_value() {
    let base = Settings::new;
    for (settings, start) in [
        (
            base().minimum_volume(0),
            "minimum volume of 0 is not within 1",
        ),
        (
            base().recovery(Recovery::Successes(0)),
            "probes of 0 is not within 1 to 64",
        ),
        (
            base().recovery(Recovery::Successes(65)),
            "probes of 65 is not within 1 to 64",
        ),
        (
            base().consecutive_failures(0),
            "consecutive failures of 0 is not",
        ),
        (
            base().slow_calls(SECS(0), 0.5),
            "slow limit of 0ns is not within",
        ),
        (
            base().open_for(SECS(0)),
            "open time of 0ns is not within 0s",
        ),
        (
            base().open_at_most(SECS(86_401)),
            "longest open time of 86401s",
        ),
        (
            base().window(Window::Count(0)),
            "breaker window of 0 is not",
        ),
        (
            base().window(Window::Time(SECS(0))),
            "breaker window of 0ns",
        ),
        (
            base().window(Window::Count(10_001)),
            "breaker window of 10001 is not within 1 to 10000",
        ),
    ] {
        let refused = refused(settings);
        assert!(refused.starts_with(start), "{refused}");
    }
}

#[test]
fn contradictions_are_refused_with_both_values() {
    assert_eq!(
        refused(Settings::new().open_for(SECS(180))),
        "open time of 180s is longer than the longest open time of 120s"
    );
    assert_eq!(
        refused(Settings::new().window(Window::Count(19))),
        "breaker window of 19 is less than the minimum volume of 20"
    );
}

#[test]
fn table_of_defaults_is_the_constants() {
    use crate::registry::{IDLE, MOST_DESTINATIONS};
    let doc = include_str!("../../layer/breaker.rs");
    let (shortest, open, longest) = (
        SHORTEST_WINDOW.as_secs(),
        OPEN_FOR.as_secs(),
        OPEN_AT_MOST.as_secs(),
    );
    let jitter = super::super::rules::JITTER * 100.0;
    for row in [
        format!("| failure ratio | {FAILURE_RATIO} |"),
        format!("| minimum volume | {MINIMUM_VOLUME} attempts |"),
        format!("| window | {shortest} s, or twice the attempt limit if that is longer |"),
        format!(
            "| open for | {open} s, twice as long each time, 0–{jitter} % longer by luck, \
             at most {longest} s |"
        ),
        format!("| probes | {PROBES} |"),
        format!(
            "| destinations | {most}, forgotten first when idle for {} s |",
            IDLE.as_secs(),
            most = MOST_DESTINATIONS
        ),
    ] {
        assert!(doc.contains(&format!("/// {row}\n")), "{row}");
    }
}
