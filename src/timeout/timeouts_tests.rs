use super::*;

const MS: fn(u64) -> Duration = Duration::from_millis;

#[test]
fn defaults_build_for_every_deadline_from_10_ms_to_24_h() {
    let mut deadline = MS(10);
    while deadline <= LONGEST {
        let timeouts = Timeouts::new(deadline).unwrap();
        assert_eq!(timeouts.first_byte(), timeouts.attempt(), "{deadline:?}");
        deadline = deadline * 3 / 2;
    }
    assert!(Timeouts::new(LONGEST).is_ok());
}

#[test]
fn table_of_defaults_says_what_they_are() {
    let doc = include_str!("timeouts.rs");
    let secs = |timeout: Duration| timeout.as_secs();
    for row in [
        "| attempt | D / 2 while another attempt may follow |".to_owned(),
        format!("| dns | min({} s, A / 2) |", secs(DNS)),
        format!("| connect | min({} s, A / 2) |", secs(CONNECT)),
        format!("| tls | min({} s, A / 2) |", secs(TLS)),
        format!("| send | min({} s, A / 2) |", secs(SEND)),
        "| first byte | A |".to_owned(),
        format!("| body idle | min({} s, A) |", secs(BODY_IDLE)),
    ] {
        assert!(doc.contains(&format!("/// {row}")), "{row}");
    }
    let day = Timeouts::new(LONGEST).unwrap();
    let hour = Duration::from_secs(60 * 60);
    assert_eq!((day.attempt(), day.dns()), (12 * hour, DNS));
    assert_eq!(day.first_byte(), 12 * hour);
    assert_eq!((day.send(), day.body_idle()), (SEND, BODY_IDLE));
}

#[test]
fn deadline_out_of_range_is_refused_by_name() {
    for deadline in [MS(0), MS(9), LONGEST + MS(1)] {
        let refused = Timeouts::new(deadline).unwrap_err().to_string();
        assert!(
            refused.starts_with(&format!("deadline: {deadline:?} is invalid")),
            "{refused}"
        );
    }
}

#[test]
fn attempt_longer_than_the_deadline_is_refused_with_both_values() {
    let attempt = TimeoutsConfig::new().attempt(MS(10_001));
    let refused = Timeouts::from_config(MS(10_000), attempt).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "timeouts.attempt: 10.001s is invalid: expected at most deadline (10s)"
    );
}

#[test]
fn hop_longer_than_the_attempt_is_refused_with_both_values() {
    let (long, base) = (MS(5_001), TimeoutsConfig::new());
    for (field, config) in [
        ("dns", base.dns(long)),
        ("connect", base.connect(long)),
        ("tls", base.tls(long)),
        ("send", base.send(long)),
        ("first_byte", base.first_byte(long)),
        ("body_idle", base.body_idle(long)),
    ] {
        let refused = Timeouts::from_config(MS(10_000), config).unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!("timeouts.{field}: 5.001s is invalid: expected at most timeouts.attempt (5s)")
        );
    }
    assert!(Timeouts::from_config(MS(10_000), base.connect(MS(5_000))).is_ok());
}

#[test]
fn zero_is_refused_by_name() {
    let refused = Timeouts::from_config(MS(10_000), TimeoutsConfig::new().tls(MS(0))).unwrap_err();
    assert!(
        refused
            .to_string()
            .starts_with("timeouts.tls: 0ns is invalid"),
        "{refused}"
    );
}

#[test]
fn attempt_leaves_time_only_if_another_may_follow() {
    let timeouts =
        Timeouts::from_config(MS(10_000), TimeoutsConfig::new().connect(MS(4_000))).unwrap();
    let hurried = timeouts.for_attempt((MS(100), MS(10_000)), true);
    assert_eq!(hurried.attempt(), MS(50));
    assert_eq!(hurried.connect(), MS(4_000), "as it was set");
    assert_eq!((hurried.dns(), hurried.first_byte()), (MS(25), MS(50)));
    let last = timeouts.for_attempt((MS(7_000), MS(10_000)), false);
    assert_eq!(last.attempt(), MS(7_000));
    assert_eq!((last.connect(), last.dns()), (MS(4_000), DNS));
    assert_eq!(last.configured_attempt(), MS(5_000));
}

#[test]
fn attempt_leaves_a_quarter_of_the_deadline_or_half_of_the_time_left() {
    let timeouts = Timeouts::new(MS(10_000)).unwrap();
    // The time left, the whole time of the call, and the attempt.
    let table = [
        (10_000, 10_000, 5_000),
        (9_900, 10_000, 5_000),
        (7_500, 10_000, 5_000),
        (6_000, 10_000, 3_500),
        (5_000, 10_000, 2_500),
        (4_000, 10_000, 2_000),
        (7_500, 7_500, 3_750),
        (5_000, 7_500, 3_125),
        (2_000, 7_500, 1_000),
        (20_000, 20_000, 10_000),
    ];
    for (left, whole, expected) in table {
        let attempt = timeouts.for_attempt((MS(left), MS(whole)), true);
        assert_eq!(
            attempt.attempt(),
            MS(expected),
            "{left} ms of {whole} ms left"
        );
    }
}

#[test]
fn attempt_timeout_that_was_set_holds_for_every_attempt() {
    let set = TimeoutsConfig::new().attempt(MS(3_000));
    let timeouts = Timeouts::from_config(MS(10_000), set).unwrap();
    for may_follow in [true, false] {
        let attempt = |left| {
            timeouts
                .for_attempt((MS(left), MS(10_000)), may_follow)
                .attempt()
        };
        assert_eq!((attempt(10_000), attempt(1_000)), (MS(3_000), MS(3_000)));
    }
}

#[test]
fn first_byte_timeout_grows_with_what_the_kernel_may_hold() {
    let timeouts = Timeouts::new(MS(10_000)).unwrap();
    assert_eq!(timeouts.first_byte_after(0), MS(5_000));
    assert_eq!(timeouts.first_byte_after(2 << 20), MS(5_000 + 1_250));
    assert_eq!(timeouts.first_byte_after(4 << 20), MS(5_000 + 2_500));
    assert_eq!(timeouts.first_byte_after(1 << 40), MS(5_000 + 2_500));
}
