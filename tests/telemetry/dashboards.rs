//! The dashboard and the alerts use the names of the metrics, as exporters translate them for Prometheus.
#![cfg(feature = "otel")]

mod prometheus;
mod promql;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sevenhops::telemetry::{METRICS, MetricName};

use self::promql::{Query, names_in};

const GRAFANA: &str = include_str!("../../dashboards/grafana.json");
const ALERTS: &str = include_str!("../../dashboards/alerts.yml");
const ALERTS_TEST: &str = include_str!("../../dashboards/alerts_test.yml");

/// Returns the names that a metric has in Prometheus.
fn translated(metric: &MetricName) -> Vec<String> {
    let unit = match metric.unit {
        "s" => "_seconds",
        "1" => "_ratio",
        annotation if annotation.starts_with('{') => "",
        unknown => panic!("how do exporters write the unit {unknown}?"),
    };
    let suffixes: &[&str] = match metric.instrument {
        "histogram" => &["_bucket", "_sum", "_count"],
        "counter" => &["_total"],
        _ => &[""],
    };
    let name = label(metric.name);
    let suffixed = suffixes
        .iter()
        .map(|suffix| format!("{name}{unit}{suffix}"));
    suffixed.collect()
}

/// Returns the name that an attribute has in Prometheus.
fn label(attribute: &str) -> String {
    attribute.replace('.', "_")
}

/// Returns the labels of each name in Prometheus.
fn known() -> BTreeMap<String, BTreeSet<String>> {
    let mut known = BTreeMap::new();
    for metric in METRICS {
        for name in translated(metric) {
            let mut labels: BTreeSet<_> =
                metric.attributes.iter().map(|name| label(name)).collect();
            if name.ends_with("_bucket") {
                labels.insert("le".to_owned());
            }
            known.insert(name, labels);
        }
    }
    known
}

/// Checks every name in an expression. Returns its metrics.
fn check(expr: &str, shown: &BTreeSet<&str>) -> BTreeSet<String> {
    let known = known();
    let Query {
        metrics,
        selected,
        grouped,
    } = promql::read(expr);
    assert!(!metrics.is_empty(), "{expr}");
    for name in &metrics {
        let labels = known.get(name);
        let labels = labels.unwrap_or_else(|| panic!("{name} is not a metric: {expr}"));
        for label in &grouped {
            assert!(labels.contains(label), "{name} has no {label}: {expr}");
        }
    }
    for (name, label) in &selected {
        assert!(known[name].contains(label), "{name} has no {label}: {expr}");
    }
    for label in shown {
        let has = |name: &String| known[name].contains(*label);
        assert!(
            metrics.iter().any(has),
            "{label} is shown, and not in {expr}"
        );
    }
    metrics
}

/// Returns the values of all fields with this name.
fn fields<'v>(value: &'v Value, name: &str) -> Vec<&'v Value> {
    match value {
        Value::Object(fields_here) => {
            let own = fields_here.get(name).into_iter();
            own.chain(fields_here.values().flat_map(|value| fields(value, name)))
                .collect()
        }
        Value::Array(values) => values
            .iter()
            .flat_map(|value| fields(value, name))
            .collect(),
        _ => Vec::new(),
    }
}

#[test]
fn dashboard_shows_every_metric_by_its_name_and_labels() {
    let dashboard: Value = serde_json::from_str(GRAFANA).unwrap();
    let mut shown = BTreeSet::new();
    for targets in fields(&dashboard, "targets") {
        for target in targets.as_array().unwrap() {
            let legend = target["legendFormat"].as_str().unwrap();
            let expr = target["expr"].as_str().unwrap();
            shown.extend(check(expr, &names_in(legend, "{{")));
        }
    }
    for metric in METRICS {
        let is_shown = translated(metric).iter().any(|name| shown.contains(name));
        assert!(is_shown, "{} is not shown", metric.name);
    }
    let variable = &dashboard["templating"]["list"][1]["query"];
    let (metric, label) = variable.as_str().unwrap().split_once(", ").unwrap();
    let metric = metric.strip_prefix("label_values(").unwrap();
    assert!(known()[metric].contains(label.strip_suffix(')').unwrap()));
}

#[test]
fn panels_have_numbers_of_their_own_and_do_not_overlap() {
    let dashboard: Value = serde_json::from_str(GRAFANA).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len());
    let mut taken = BTreeSet::new();
    for panel in panels {
        let at = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(x < 24 && taken.insert((x, y)), "{}", panel["title"]);
            }
        }
        assert!(panel["type"] == "row" || panel["description"].as_str().is_some());
    }
}

#[test]
fn alerts_use_the_names_of_metrics_and_each_has_a_test() {
    let alerts: Vec<_> = ALERTS.split("- alert: ").skip(1).collect();
    assert_eq!(alerts.len(), ALERTS.matches(" expr: ").count());
    for alert in alerts {
        let (name, rest) = alert.split_once('\n').unwrap();
        let expr = rest.split("expr: ").nth(1).unwrap().lines().next().unwrap();
        let expr = expr.split(" #").next().unwrap();
        check(expr, &names_in(rest, "$labels."));
        let mark = format!("- alertname: {name}\n");
        let tested = ALERTS_TEST.split(&mark);
        let fires = tested.skip(1).any(|test| {
            let expected = test.split("exp_alerts:").nth(1).unwrap();
            expected.trim_start().starts_with("- exp_labels")
        });
        assert!(fires, "no test lets {name} fire");
    }
}
