//! The example `probe`, as the program that it is. A whole `cargo test` builds it.

#[path = "../../examples/probe/summary.rs"]
mod summary;

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;
use sevenhops::testing::{CannedResponse, ClosedPort, FaultServer, Reply};
use tokio::process::Command;

use self::summary::Summary;

/// The result of the program.
struct Ended {
    status: i32,
    out: String,
    errors: String,
}

/// Runs the program; `None` if it has not been built.
async fn probe(arguments: &[&str]) -> Option<Ended> {
    let program = built()?;
    let ended = Command::new(program)
        .args(arguments)
        .output()
        .await
        .unwrap();
    Some(Ended {
        status: ended.status.code().unwrap(),
        out: String::from_utf8(ended.stdout).unwrap(),
        errors: String::from_utf8(ended.stderr).unwrap(),
    })
}

/// The examples are next to the folder of the tests.
fn built() -> Option<PathBuf> {
    let tests = std::env::current_exe().unwrap();
    let name = format!("probe{}", std::env::consts::EXE_SUFFIX);
    let program = tests.parent()?.parent()?.join("examples").join(name);
    if program.exists() {
        return Some(program);
    }
    let line = "SKIPPED: the probe: run `cargo build --all-features --example probe` first\n";
    let _ = std::io::stderr().write_all(line.as_bytes());
    None
}

fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.out).unwrap()
}

#[tokio::test]
async fn each_stage_has_its_times_over_all_calls() {
    for keeps_alive in [false, true] {
        let server = FaultServer::start().await.unwrap();
        let url = server.url("/ready?key=secret");
        let mut arguments = vec![url.as_str(), "-n", "5", "--json"];
        arguments.extend(keeps_alive.then_some("--keep-alive"));
        let Some(ended) = probe(&arguments).await else {
            return;
        };
        assert_eq!(ended.status, 0, "{}", ended.errors);
        assert_eq!(server.requests_seen(), 5);
        // A call that begins before the connection of the one before it is idle opens another one.
        let connections = server.connections();
        assert_eq!(connections < 5, keeps_alive, "{connections}");
        let report = json(&ended);
        assert_eq!(
            (&report["calls"], &report["failed"]),
            (&5.into(), &0.into())
        );
        let stages = &report["stages"];
        assert_eq!(stages["connect"]["calls"], connections);
        for stage in ["wait", "receive", "total"] {
            let times = ["min_us", "median_us", "p95_us", "max_us"];
            let times = times.map(|name| stages[stage][name].as_u64().unwrap());
            assert!(times.is_sorted() && times[3] > 0, "{stage}: {times:?}");
            assert_eq!(stages[stage]["calls"], 5);
        }
        assert!(stages.get("tls").is_none());
        assert!(!ended.out.contains("secret"));
    }
}

/// A URL, the reply, the exit status and the hop.
type Row<'u> = (&'u str, Option<Reply>, i32, &'u str);

#[tokio::test]
async fn exit_status_tells_the_hop() {
    let port = ClosedPort::new().unwrap();
    let server = FaultServer::start().await.unwrap();
    let (refused, url) = (format!("http://{}/", port.addr()), server.url("/"));
    let tls = url.replace("http:", "https:");
    let garbage = CannedResponse::new(StatusCode::OK).header("content-encoding", "gzip");
    let sent = Bytes::from_static(b"half");
    let reply = |status| Some(CannedResponse::new(status).into());
    let rows: [Row<'_>; 9] = [
        ("no-url", None, 10, "encode"),
        (&refused, None, 12, "connect"),
        (&tls, None, 13, "tls"),
        (&url, reply(StatusCode::BAD_GATEWAY), 15, "gateway"),
        (&url, reply(StatusCode::NOT_FOUND), 16, "server"),
        (&url, reply(StatusCode::SERVICE_UNAVAILABLE), 16, "server"),
        (&url, Some(Reply::Silent), 16, "server"),
        (
            &url,
            Some(Reply::TruncateBody {
                declared: 100,
                sent,
            }),
            17,
            "receive",
        ),
        (&url, Some(garbage.body("no gzip").into()), 18, "decode"),
    ];
    for (url, reply, status, hop) in rows {
        server.on_request(reply);
        let Some(ended) = probe(&[url, "--deadline", "500ms", "--json"]).await else {
            return;
        };
        assert_eq!(ended.status, status, "{}", ended.out);
        let report = json(&ended);
        assert_eq!(report["exit_status"], status);
        assert_eq!(report["failures"][0]["hop"], hop);
        // The waterfall and the sentence are for people.
        let Some(ended) = probe(&[&refused]).await else {
            return;
        };
        assert_eq!(ended.status, 12);
        assert!(
            ended.out.contains("failed at connect (hop 2 of 7)"),
            "{}",
            ended.out
        );
    }
}

#[tokio::test]
async fn only_the_chosen_hops_count_and_the_first_of_them_is_told() {
    let server = FaultServer::start().await.unwrap();
    let not_found = || CannedResponse::new(StatusCode::NOT_FOUND).into();
    let bad_gateway = || CannedResponse::new(StatusCode::BAD_GATEWAY).into();
    for (fail_on, status, counts) in [
        ("dns,connect, tls", 0, [false, false]),
        ("gateway", 15, [false, true]),
        ("gateway,server", 16, [true, true]),
    ] {
        server.on_request([not_found(), bad_gateway()]);
        let url = server.url("/ready");
        let arguments = [&*url, "-n", "3", "--json", "--fail-on", fail_on];
        let Some(ended) = probe(&arguments).await else {
            return;
        };
        assert_eq!(ended.status, status, "{fail_on}");
        let report = json(&ended);
        let failures = report["failures"].as_array().unwrap();
        let counted: Vec<_> = failures.iter().map(|failed| &failed["counts"]).collect();
        assert_eq!(counted, counts);
        assert_eq!(
            (&failures[0]["call"], &failures[0]["status"]),
            (&1.into(), &404.into())
        );
    }
}

#[tokio::test]
async fn several_calls_end_with_a_table() {
    let server = FaultServer::start().await.unwrap();
    server.on_request([CannedResponse::new(StatusCode::NOT_FOUND).into()]);
    let Some(ended) = probe(&[&server.url("/"), "-n", "3"]).await else {
        return;
    };
    assert_eq!(ended.status, 16);
    let rows: Vec<Vec<_>> = ended
        .out
        .lines()
        .map(|line| line.split(' ').collect())
        .collect();
    let named = |name: &str| rows.iter().rfind(|row| row[0] == name).unwrap();
    assert_eq!(
        named("connect")
            .iter()
            .filter(|word| **word == "ms")
            .count(),
        4
    );
    assert!(named("total").contains(&"3"), "{}", ended.out);
    assert!(
        ended.out.ends_with("1 of 3 calls failed\n"),
        "{}",
        ended.out
    );
}

#[tokio::test]
async fn wrong_arguments_are_refused_with_the_reason() {
    for (arguments, reason) in [
        (&[][..], "the URL is missing"),
        (&["a", "b"], "more than one URL: b"),
        (&["a", "-n"], "-n needs a value"),
        (&["a", "-n", "0"], "-n 0: expected 1..=10000"),
        (
            &["a", "--deadline", "2"],
            "--deadline 2: expected a time such as 500ms or 2s",
        ),
        (
            &["a", "--fail-on", "dns,tcp"],
            "--fail-on tcp: expected some of encode, dns,",
        ),
        (&["a", "--quiet"], "unknown option: --quiet"),
        (&["a", "--deadline", "1ms"], "deadline: 1ms is invalid"),
    ] {
        let Some(ended) = probe(arguments).await else {
            return;
        };
        assert_eq!((ended.status, &*ended.out), (2, ""));
        assert!(ended.errors.starts_with(reason), "{}", ended.errors);
    }
}

#[test]
fn percentiles_are_measured_values() {
    let millis = |all: &[u64]| {
        all.iter()
            .copied()
            .map(Duration::from_millis)
            .collect::<Vec<_>>()
    };
    let hundred: Vec<_> = (1..=100).rev().collect();
    for (times, expected) in [
        (&[7][..], [7, 7, 7, 7]),
        (&[2, 1], [1, 1, 2, 2]),
        (&[3, 1, 2], [1, 2, 3, 3]),
        (&hundred, [1, 50, 95, 100]),
    ] {
        let found = Summary::of(&millis(times)).unwrap();
        assert_eq!(found.count, times.len());
        let found = [found.min, found.median, found.p95, found.max];
        assert_eq!(found, *millis(&expected));
    }
    assert!(Summary::of(&[]).is_none());
}
