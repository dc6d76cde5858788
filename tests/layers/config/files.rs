//! Configs in files: read, refused with a path, written and printed.

use std::time::Duration;

use serde_json::Value;
use sevenhops::{CircuitBreakerConfig, Config, DestinationConfig, RetryConfig, StandardLayer};

fn read(json: &str) -> Result<Config, String> {
    serde_json::from_str(json).map_err(|error| error.to_string())
}

#[test]
fn file_with_parts_equals_the_config_built_in_code() {
    let json = r#"{
        "deadline": "10s",
        "retry": { "attempts": 5 },
        "destinations": {
            "*.bank.test": { "deadline": "5s", "retry": { "attempts": 1 } },
            "/v1/reports/{id}": { "deadline": "60s", "propagate_deadline": false }
        }
    }"#;
    let attempts = |attempts| RetryConfig::new().attempts(attempts);
    let bank = DestinationConfig::new()
        .deadline(Duration::from_secs(5))
        .retry(attempts(1));
    let reports = DestinationConfig::new()
        .deadline(Duration::from_secs(60))
        .propagate_deadline(false);
    let settings = Config::new(Duration::from_secs(10))
        .retry(attempts(5))
        .destination("*.bank.test", bank)
        .destination("/v1/reports/{id}", reports);
    assert_eq!(read(json).as_ref(), Ok(&settings));
    let written = serde_json::to_string(&settings).unwrap();
    assert_eq!(read(&written), Ok(settings));
}

#[test]
fn hedges_of_a_part_replace_those_around_it_or_switch_them_off() {
    let json = r#"{
        "deadline": "10s",
        "hedge": { "quantile": 0.9, "same_address": true },
        "destinations": {
            "a.test": { "hedge": { "delay": "20ms" } },
            "b.test": { "hedge": { "enabled": false }, "retry": { "attempts": 1 } }
        }
    }"#;
    let config = read(json).unwrap();
    let written = serde_json::to_string(&config).unwrap();
    assert_eq!(read(&written), Ok(config.clone()));
    let at = |url: &str| {
        let effective = config.effective(&url.parse().unwrap(), None).unwrap();
        effective.get_hedge().cloned().unwrap()
    };
    let top = at("https://c.test");
    assert_eq!((top.get_quantile(), top.get_max_hedges()), (Some(0.9), 1));
    let a = at("https://a.test");
    assert_eq!(a.get_delay(), Some(Duration::from_millis(20)));
    assert!(a.get_same_address() && a.get_enabled());
    assert!(!at("https://b.test").get_enabled());
    // Without a config of hedges, calls are not hedged.
    assert_eq!(read(r#"{"deadline": "10s"}"#).unwrap().get_hedge(), None);
}

#[test]
fn field_that_cannot_be_read_is_refused_with_its_path() {
    for (json, said) in [
        (r#"{"deadline": "1s", "x": 1}"#, "x: unknown field `x`"),
        (
            r#"{"deadline": "1s", "retry": {"x": 1}}"#,
            "retry.x: unknown field `x`",
        ),
        (
            r#"{"deadline": "1s", "retry": {"backoff": {"x": 1}}}"#,
            "retry.backoff.x: unknown field `x`",
        ),
        (
            r#"{"deadline": "1s", "retry": {"attempts": "3"}}"#,
            "retry.attempts: invalid type: string",
        ),
        (
            r#"{"deadline": "1s", "retry": {"statuses": [503, 42]}}"#,
            "retry.statuses: 42 is not a status code",
        ),
        (
            r#"{"deadline": "1s", "hedge": {"delay": "10ms", "quantile": 0.9}}"#,
            "hedge: only one of delay and quantile",
        ),
        (r#"{"deadline": "soon"}"#, "deadline: \"soon\": "),
        (
            r#"{"deadline": "1s", "destinations": {"*.bank.test": {"retry": {"atempts": 1}}}}"#,
            r#"destinations."*.bank.test".retry.atempts: unknown field `atempts`"#,
        ),
        (
            r#"{"deadline": "1s", "destinations": {"a.test": {"destinations": {}}}}"#,
            r#"destinations."a.test".destinations: unknown field"#,
        ),
        (
            r#"{"deadline": "1s", "destinations": []}"#,
            "destinations: invalid type: sequence",
        ),
        ("{}", "missing field `deadline`"),
    ] {
        let refused = read(json).unwrap_err();
        assert!(refused.starts_with(said), "{refused}");
    }
}

#[test]
fn two_equal_keys_of_a_file_are_not_merged() {
    let json =
        r#"{"deadline": "1s", "destinations": {"a.test": {"deadline": "2s"}, "a.test": {}}}"#;
    let settings = read(json).unwrap();
    assert_eq!(
        settings.get_destinations().count(),
        2,
        "build() refuses them"
    );
}

#[test]
fn effective_config_shows_every_default() {
    let part = DestinationConfig::new().retry(RetryConfig::new().attempts(1));
    let settings = Config::new(Duration::from_secs(10)).destination("*.bank.test", part);
    let effective = settings
        .effective(&"https://api.bank.test".parse().unwrap(), None)
        .unwrap();
    let written = serde_json::to_value(&effective).unwrap();
    assert_eq!(written["retry"]["attempts"], 1);
    assert_eq!(written["retry"]["unsent_attempts"], 10);
    assert_eq!(written["circuit_breaker"]["break_duration"], "5s");
    assert_eq!(written["redirect"]["max_redirects"], 10);
    assert_eq!(written["idempotency"]["header"], "idempotency-key");
    assert!(written.get("destinations").is_none());
    // The file is a config again, and the same one.
    let again: Config = serde_json::from_value(written.clone()).unwrap();
    assert_eq!(
        again
            .effective(&"https://a.test".parse().unwrap(), None)
            .unwrap(),
        effective
    );
    assert!(format!("{effective:?}").contains("unsent_attempts: Some(10)"));
    // The test of bad values covers every field that has a default.
    let whole: Value = serde_json::from_str(include_str!("whole.json")).unwrap();
    is_within(&written, &whole, "");
}

fn is_within(written: &Value, whole: &Value, path: &str) {
    let Value::Object(fields) = written else {
        return;
    };
    for (name, value) in fields {
        let path = format!("{path}.{name}");
        let known = whole
            .get(name)
            .unwrap_or_else(|| panic!("whole.json lacks {path}"));
        is_within(value, known, &path);
    }
}

#[test]
fn endpoints_of_a_logical_name_are_read_and_written() {
    let text = r#"{
        "deadline": "10s",
        "endpoints": {
            "pay.internal": {
                "share_keys": true,
                "urls": [
                    { "url": "https://eu.pay.test" },
                    { "url": "https://us.pay.test/v2", "priority": 1, "weight": 3 }
                ]
            }
        }
    }"#;
    let config: Config = serde_json::from_str(text).unwrap();
    StandardLayer::from_config(&config).unwrap();
    let (name, endpoints) = config.get_endpoints().next().unwrap();
    let [eu, us] = endpoints.get_urls() else {
        panic!("{endpoints:?}");
    };
    assert_eq!((name, endpoints.get_share_keys()), ("pay.internal", true));
    assert_eq!((eu.get_priority(), eu.get_weight()), (0, 1));
    assert_eq!(
        (us.get_url(), us.get_priority(), us.get_weight()),
        ("https://us.pay.test/v2", 1, 3)
    );
    let written = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<Config>(&written).unwrap(), config);
    for (from, to, refused) in [
        ("\"weight\"", "\"wait\"", "urls.1.wait: unknown field"),
        (
            "3 }",
            "0 }",
            "endpoints.\"pay.internal\".urls.1.weight: 0 is invalid: expected 1..=65535",
        ),
    ] {
        let bad = serde_json::from_str::<Config>(&text.replace(from, to));
        let error = match bad {
            Err(error) => error.to_string(),
            Ok(config) => StandardLayer::from_config(&config).unwrap_err().to_string(),
        };
        assert!(error.contains(refused), "{error}");
    }
}

#[test]
fn break_durations_of_a_part_replace_an_outer_factor() {
    let by_times =
        CircuitBreakerConfig::new().break_duration_by(|nth| Duration::from_secs(nth.into()));
    let settings = Config::new(Duration::from_secs(10))
        .circuit_breaker(CircuitBreakerConfig::new().break_duration(Duration::from_secs(7)))
        .destination("a.test", DestinationConfig::new().circuit_breaker(by_times));
    let own = |url: &str| settings.effective(&url.parse().unwrap(), None).unwrap();
    let times = own("https://a.test");
    assert_eq!(
        times
            .get_circuit_breaker()
            .get_break_duration_by()
            .map(<[_]>::len),
        Some(32)
    );
    assert_eq!(
        own("https://b.test")
            .get_circuit_breaker()
            .get_break_duration(),
        Duration::from_secs(7)
    );
}

/// The file in the guide, as an operator writes it.
#[test]
fn file_in_the_guide_is_valid() {
    let guide = include_str!("../../../docs/guide.md");
    let file = guide
        .split("```toml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    let settings: Config = toml::from_str(file.unwrap()).unwrap();
    let own = |url: &str, route| settings.effective(&url.parse().unwrap(), route).unwrap();
    let pay = own("https://pay.bank.test/", None);
    assert_eq!(
        pay.get_timeouts().get_attempt(),
        Some(Duration::from_secs(2))
    );
    assert_eq!(
        pay.get_circuit_breaker().get_consecutive_failures(),
        Some(5)
    );
    assert!(pay.get_idempotency().get_honored_by_all());
    let reports = own("https://api.test/v1/reports/7", Some("/v1/reports/{id}"));
    assert_eq!(reports.get_deadline(), Duration::from_secs(60));
    assert_eq!(own("https://api.test/", None).get_retry().get_attempts(), 3);

    // The second one is about the load.
    let load = guide.split("```toml\n").nth(2);
    let load = load.and_then(|rest| rest.split("```").next()).unwrap();
    let load: Config = toml::from_str(load).unwrap();
    let url = "https://api.partner.test/".parse().unwrap();
    let load = load.effective(&url, None).unwrap();
    assert_eq!(load.get_rate_limit().unwrap().get_burst(), Some(5));
    assert!(load.get_throttle().is_none());

    let typo = "deadline = \"1s\"\n[destinations.\"*.bank.test\".retry]\natempts = 1";
    let refused = toml::from_str::<Config>(typo).unwrap_err().to_string();
    assert!(
        refused.contains(r#"destinations."*.bank.test".retry.atempts: "#),
        "{refused}"
    );
}
