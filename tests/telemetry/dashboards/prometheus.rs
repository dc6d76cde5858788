//! A real Prometheus loads the rules, scrapes the metrics of calls, and evaluates the rules. If it is not installed,
//! the test prints that on stderr and is skipped.

use std::convert::Infallible;
use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use prometheus::TextEncoder;
use serde_json::Value;
use sevenhops::testing::{FaultServer, Reply};
use sevenhops::{Client, Effect};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::known;
use crate::net::{Net, url};
use crate::otel::metrics::{REGISTRY, sdk};

/// Returns the metrics of this process as Prometheus scrapes them.
fn exposition() -> String {
    let families = REGISTRY.gather();
    TextEncoder::new().encode_to_string(&families).unwrap()
}

/// Makes a call whose request the server reads, and then resets. Returns the port of the server, and the client: its
/// gauges are shown as long as it lives.
async fn lose_a_response() -> (u16, Client) {
    let (_, _, metrics) = sdk();
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    server.default_reply(Reply::ResetAfterRequest);
    let client = net.builder().metrics(metrics).build().unwrap();
    let lost = client.post(url(&server, "http")).body("amount=100");
    let error = lost.send().await.unwrap_err();
    assert_eq!(error.effect(), Effect::Possible);
    (server.addr().port(), client)
}

#[tokio::test]
async fn exporter_writes_the_names_of_the_dashboard() {
    let (port, _client) = lose_a_response().await;
    let text = exposition();
    let known = known();
    let of_this_call = format!("server_port=\"{port}\"");
    let mut seen = 0;
    for line in text.lines().filter(|line| line.contains(&of_this_call)) {
        let (name, labels) = line.split_once('{').unwrap();
        let expected = known.get(name);
        let expected = expected.unwrap_or_else(|| panic!("{name} is not in the table"));
        let labels = labels
            .split("\",")
            .filter_map(|label| label.split_once("=\""));
        for (label, _) in labels.filter(|(label, _)| !label.starts_with("otel_scope")) {
            assert!(expected.contains(label), "{label} of {name}");
        }
        seen += 1;
    }
    assert!(seen > 20, "{text}");
    assert!(
        text.contains("sevenhops_call_effect_possible_total{"),
        "{text}"
    );
    assert!(text.contains("sevenhops_breaker_state_ratio{"), "{text}");
}

#[test]
fn promtool_accepts_the_rules_and_their_tests() {
    for what in ["check rules alerts.yml", "test rules alerts_test.yml"] {
        let mut promtool = Command::new("promtool");
        let promtool = promtool.args(what.split(' ')).current_dir(dashboards());
        match promtool.output() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return skip("promtool"),
            output => {
                let output = output.unwrap();
                let said = [output.stdout, output.stderr].concat();
                let said = String::from_utf8_lossy(&said);
                assert!(output.status.success(), "promtool {what}: {said}");
            }
        }
    }
}

#[tokio::test]
async fn prometheus_scrapes_a_client_and_lets_an_alert_fire() {
    let (port, _client) = lose_a_response().await;
    let port = port.to_string();
    let (target, scraped) = serve().await;
    let Some(mut server) = Prometheus::start(target) else {
        return skip("prometheus");
    };
    let client = Client::builder(Duration::from_secs(10)).build().unwrap();
    let rules = format!("http://{}/api/v1/rules", server.address);
    let fires = async {
        loop {
            // Each scrape is followed by an evaluation.
            scraped.notified().await;
            let Ok(found) = client.get(&rules).fetch_json::<Value>().await else {
                continue;
            };
            let found = found["data"]["groups"][0]["rules"].as_array().cloned();
            let found = found.unwrap_or_default();
            if found.iter().any(|rule| is_firing(rule, &port)) {
                return found;
            }
        }
    };
    let rules = timeout(LONGEST, fires).await;
    let rules =
        rules.unwrap_or_else(|_| panic!("no alert in {LONGEST:?}: {:?}", server.child.try_wait()));
    for rule in &rules {
        assert_ne!(rule["health"], "err", "{rule}");
    }
}

/// Returns whether the alert of an effect fires for the server on this port.
fn is_firing(rule: &Value, port: &str) -> bool {
    let alerts = rule["alerts"].as_array().cloned().unwrap_or_default();
    rule["name"] == "SevenhopsEffectPossible"
        && alerts
            .iter()
            .any(|alert| alert["state"] == "firing" && alert["labels"]["server_port"] == port)
}

/// Serves the metrics of this process. Returns the address, and a notifier for each scrape.
async fn serve() -> (SocketAddr, Arc<Notify>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let (address, scraped) = (listener.local_addr().unwrap(), Arc::new(Notify::new()));
    let tell = Arc::clone(&scraped);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tell = Arc::clone(&tell);
            let serve = service_fn(move |_: Request<Incoming>| {
                tell.notify_one();
                let response = Response::new(Full::<Bytes>::from(exposition()));
                async { Ok::<_, Infallible>(response) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), serve);
            tokio::spawn(connection);
        }
    });
    (address, scraped)
}

/// A Prometheus on a loopback port. It is stopped and its files are removed when this is dropped.
struct Prometheus {
    address: SocketAddr,
    child: Child,
    directory: PathBuf,
}

impl Prometheus {
    /// Starts one that scrapes `target`. `None` if it is not installed.
    fn start(target: SocketAddr) -> Option<Self> {
        let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let name = format!("sevenhops-prometheus-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir(&directory).unwrap();
        let config = directory.join("prometheus.yml");
        let rules = dashboards().join("alerts.yml");
        let text = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: ['{}']\n\
             scrape_configs: [{{job_name: calls, static_configs: [{{targets: ['{target}']}}]}}]\n",
            rules.display()
        );
        fs::write(&config, text).unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                directory.join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=error")
            .stdout(Stdio::null())
            .spawn();
        match child {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::remove_dir_all(&directory).unwrap();
                None
            }
            child => Some(Self {
                address,
                child: child.unwrap(),
                directory,
            }),
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn dashboards() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("dashboards")
}

fn skip(program: &str) {
    let line = format!("SKIPPED: rules in a real server: {program} is not installed\n");
    let _ = io::stderr().write_all(line.as_bytes());
}

/// A start takes a second or two. On a busy machine it takes longer.
const LONGEST: Duration = Duration::from_secs(60);
