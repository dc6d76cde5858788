use super::super::formula::BackoffStep;
use super::*;

const MS: fn(u64) -> Duration = Duration::from_millis;
const SECS: fn(u64) -> Duration = Duration::from_secs;

#[test]
fn limits_of_the_settings_are_within_them() {
    let base = Backoff::new;
    for backoff in [base(), base().base(SECS(5)), base().cap(SECS(24 * 60 * 60))] {
        assert!(backoff.validate(None).is_ok(), "{backoff:?}");
    }
    assert!(base().base(SECS(1)).validate(Some(SECS(1))).is_ok());
}

#[test]
fn setting_that_a_function_does_not_go_by_is_refused() {
    let function = || Backoff::by(|_, _, _| SECS(1));
    assert!(
        function()
            .cap(SECS(2))
            .minimum(MS(1))
            .validate(None)
            .is_ok()
    );
    for ignored in [
        function().base(MS(1)),
        function().jitter(Jitter::None),
        function().growth(Growth::Linear),
        function().first_at_once(true),
    ] {
        let refused = ignored.validate(None).unwrap_err().to_string();
        assert!(
            refused.ends_with("expected only cap and minimum beside a function"),
            "{refused}"
        );
    }
}

/// Returns the waits of a backoff in milliseconds, with constant luck.
fn waits<const N: usize>(backoff: &Backoff, luck: f64) -> [f64; N] {
    let mut previous = None;
    std::array::from_fn(|retry| {
        let step = BackoffStep {
            retry: u32::try_from(retry).unwrap(),
            previous,
            base: backoff.base_within(SECS(3_600), false),
        };
        let wait = backoff.wait(&step, luck);
        previous = Some(wait);
        (wait.as_secs_f64() * 1e6).round() / 1e3
    })
}

#[test]
fn formulas_of_other_clients_can_be_expressed() {
    let none = || Backoff::new().jitter(Jitter::None);
    // AWS SDKs, "standard": r · min(20 s, 2^n), and the decorrelated jitter of AWS's architecture blog.
    let aws = Backoff::new().base(SECS(1)).cap(SECS(20));
    assert_eq!(waits(&aws, 0.5), [500.0, 1e3, 2e3, 4e3, 8e3, 1e4, 1e4]);
    let apart = aws.jitter(Jitter::Decorrelated);
    assert_eq!(waits(&apart, 1.0), [3e3, 9e3, 2e4, 2e4]);
    // Polly: constant, linear and exponential, ±25 %.
    let polly = |growth| none().growth(growth).base(SECS(1)).cap(SECS(60));
    assert_eq!(waits(&polly(Growth::Constant), 0.3), [1e3; 3]);
    assert_eq!(waits(&polly(Growth::Linear), 0.3), [1e3, 2e3, 3e3]);
    assert_eq!(
        waits(&polly(Growth::Exponential(2.0)), 0.3),
        [1e3, 2e3, 4e3]
    );
    let spread = polly(Growth::Constant).jitter(Jitter::Proportional(0.25));
    let drawn = [0.0, 0.4, 1.0].map(|luck| waits::<1>(&spread, luck)[0]);
    assert_eq!(drawn, [750.0, 950.0, 1_250.0]);
    // gRPC: min(init · mult^n, max) · U(0.8, 1.2).
    let grpc = Backoff::new().base(MS(100)).cap(SECS(1));
    let grpc = grpc.jitter(Jitter::Proportional(0.2));
    assert_eq!(waits(&grpc, 0.0), [80.0, 160.0, 320.0, 640.0, 800.0, 800.0]);
    assert_eq!(
        waits(&grpc, 1.0),
        [120.0, 240.0, 480.0, 960.0, 1_200.0, 1_200.0]
    );
    // cenkalti/backoff: 500 ms, × 1.5, ±50 %, at most 60 s.
    let cenkalti = Backoff::new().base(MS(500)).cap(SECS(60));
    let cenkalti = cenkalti.growth(Growth::Exponential(1.5));
    let cenkalti = cenkalti.jitter(Jitter::Proportional(0.5));
    assert_eq!(waits(&cenkalti, 0.5), [500.0, 750.0, 1_125.0, 1_687.5]);
    assert_eq!(waits::<1>(&cenkalti, 0.0), [250.0]);
    assert_eq!(waits::<20>(&cenkalti, 1.0)[19], 90_000.0);
    // urllib3: 0, then factor · 2^(n − 1), at most 120 s.
    let urllib3 = none().base(MS(200)).cap(SECS(120)).first_at_once(true);
    assert_eq!(waits(&urllib3, 0.3), [0.0, 200.0, 400.0, 800.0]);
    // Envoy: r · (2^(n+1) − 1) · 25 ms, at most 250 ms. Go's retryablehttp and others have a minimum.
    let envoy = Backoff::by(|n, _, luck| {
        let range = MS(25) * 2_u32.saturating_pow(n + 1).saturating_sub(1);
        range.min(MS(250)).mul_f64(luck)
    });
    assert_eq!(waits(&envoy, 1.0), [25.0, 75.0, 175.0, 250.0, 250.0]);
    assert_eq!(waits(&envoy.minimum(MS(50)), 0.0), [50.0; 3]);
}

#[test]
fn function_that_panics_counts_as_absent() {
    let broken = Backoff::by(|_, _, _| panic!("on purpose"));
    assert_eq!(waits(&broken, 0.5), waits::<4>(&Backoff::new(), 0.5));
}

#[cfg(feature = "serde")]
#[test]
fn every_kind_but_a_function_stands_in_a_file() {
    let written = Backoff::new()
        .growth(Growth::Exponential(1.5))
        .jitter(Jitter::Proportional(0.25))
        .base(MS(20))
        .minimum(MS(10));
    let json = serde_json::to_string(&written).unwrap();
    assert_eq!(serde_json::from_str::<Backoff>(&json).unwrap(), written);
    let read: Backoff = serde_json::from_str(
        r#"{"growth": "linear", "jitter": "decorrelated", "first_at_once": true}"#,
    )
    .unwrap();
    let linear = Backoff::new().growth(Growth::Linear);
    assert_eq!(
        read,
        linear.jitter(Jitter::Decorrelated).first_at_once(true)
    );
    let function = Backoff::by(|_, _, _| SECS(1));
    let refused = serde_json::to_string(&function).unwrap_err().to_string();
    assert!(
        refused.contains("by a function cannot be written"),
        "{refused}"
    );
}
