//! Bad configs: every field of every config with a refused value, and the whole message.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use sevenhops::chaos::ChaosConfig;
use sevenhops::{
    CircuitBreakerConfig, Client, Config, Operation, OperationConfig, RetryConfig, StandardLayer,
    chaos::{self, ChaosLayer},
};

use super::bad::{ANY, ROWS, TOGETHER};
use super::bad_load;

/// Returns a file with one bad value in it.
fn file(path: &str, value: &str) -> Value {
    let value = serde_json::from_str(value).unwrap();
    let inner = path
        .rsplit('.')
        .fold(value, |inner: Value, name| json!({ name: inner }));
    let mut file = inner;
    if file.get("deadline").is_none() {
        file["deadline"] = json!("10s");
    }
    file
}

fn refused(file: Value) -> String {
    let settings: Config =
        serde_json::from_value(file.clone()).unwrap_or_else(|error| panic!("{file}: {error}"));
    let Err(refused) = StandardLayer::from_config(&settings) else {
        panic!("{file} is accepted");
    };
    refused.to_string()
}

#[test]
fn value_out_of_range_is_refused_with_its_path_and_the_expected_values() {
    for (path, value, said) in ROWS.iter().chain(bad_load::ROWS) {
        let path_in_message = match *path {
            "circuit_breaker.recovery.ramp" => "circuit_breaker.recovery.ramp.step",
            path => path,
        };
        assert_eq!(
            refused(file(path, value)),
            format!("{path_in_message}: {said}")
        );
    }
    for (path, text, said) in TOGETHER.iter().chain(bad_load::TOGETHER) {
        assert_eq!(
            refused(serde_json::from_str(text).unwrap()),
            format!("{path}: {said}")
        );
    }
}

#[test]
fn client_refuses_the_same_values_with_the_same_message() {
    let ten = Duration::from_secs(10);
    let build = |retry| {
        Client::builder(ten)
            .config(|config| config.retry(retry))
            .build()
    };
    let refused = build(RetryConfig::new().attempts(0)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "retry.attempts: 0 is invalid: expected 1..=255"
    );
    let refused = Client::builder(ten).body_limit(0).build().unwrap_err();
    assert_eq!(
        refused.to_string(),
        "body_limit: 0 is invalid: expected 1 byte or more"
    );
    let most = |transport: sevenhops::TransportBuilder| transport.max_connections(0);
    let refused = Client::builder(ten).transport(most).build().unwrap_err();
    assert_eq!(
        refused.to_string(),
        "transport.max_connections: 0 is invalid: expected at least 1"
    );
}

#[test]
fn operation_and_chaos_refuse_with_the_same_message() {
    let settings = OperationConfig::new(Duration::from_secs(1)).attempt(Duration::from_secs(2));
    let refused = Operation::from_config("db", settings).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "timeouts.attempt: 2s is invalid: expected at most deadline (1s)"
    );
    let settings = ChaosConfig::new(1).inject(chaos::Fault::Silence, 1.5);
    let refused = ChaosLayer::new(settings).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "chaos.rate: 1.5 is invalid: expected 0 to 1"
    );
}

#[test]
fn function_that_panics_is_refused_when_the_stack_is_built() {
    let settings = Config::new(Duration::from_secs(10))
        .circuit_breaker(CircuitBreakerConfig::new().break_duration_by(|_| panic!("no time")));
    let refused = StandardLayer::from_config(&settings)
        .unwrap_err()
        .to_string();
    assert_eq!(
        refused,
        "circuit_breaker.break_durations: [] is invalid: expected a time for each opening: none was given, or the function \
         panicked"
    );
}

/// Collects the paths of all fields in a file.
fn paths(value: &Value, path: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                paths(value, &path, into);
            }
        }
        _ => {
            into.insert(path.to_owned());
        }
    }
}

/// Returns a file in which every possible field is set.
fn whole() -> Value {
    serde_json::from_str(include_str!("whole.json")).unwrap()
}

#[test]
fn every_field_is_tested() {
    let mut all = BTreeSet::new();
    paths(&whole(), "", &mut all);
    let walked = ROWS
        .iter()
        .chain(TOGETHER)
        .chain(bad_load::ROWS)
        .chain(bad_load::TOGETHER)
        .map(|(path, ..)| *path)
        .chain(ANY.iter().copied())
        .chain(bad_load::ANY.iter().copied());
    let walked: BTreeSet<_> = walked.map(str::to_owned).collect();
    let missing: Vec<_> = all.difference(&walked).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
