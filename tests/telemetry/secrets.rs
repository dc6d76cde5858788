//! Puts a canary in every place that can hold a secret, and searches all output of a call for it. The output is
//! timelines and their forms, recorded calls, errors, spans and their events.
#![cfg(all(feature = "har", feature = "serde"))]

use http::HeaderName;
use sevenhops::Timeline;
use sevenhops::hop::Har;
use sevenhops::policy::idempotency::IdempotencyKey;
use sevenhops::testing::{CannedResponse, FaultServer, Reply};

use crate::net::{Net, url};
use crate::otel::by_tracing::collected::{Heard, Told};

const CANARY: &str = "canary-91c2";

/// Headers that hold secrets, by their names or by the caller's declaration.
const SECRET: [&str; 12] = [
    "cookie",
    "proxy-authorization",
    "x-api-key",
    "api-key",
    "apikey",
    "x-auth-token",
    "x-amz-security-token",
    "x-client-secret",
    "x-password",
    "x-signature",
    "x-session-id",
    "x-unheard-of",
];

/// Returns a response with a canary in each of its parts.
fn telling(status: u16) -> CannedResponse {
    let status = http::StatusCode::from_u16(status).unwrap();
    CannedResponse::new(status)
        .header("set-cookie", &format!("session={CANARY}; HttpOnly"))
        .header("www-authenticate", &format!("Bearer realm=\"{CANARY}\""))
        .header(
            "proxy-status",
            &format!("edge; error=http_request_error; details=\"{CANARY}\""),
        )
        .header(
            "proxy-status",
            &format!("inner; next-hop=\"{CANARY}.internal\""),
        )
        .header("server-timing", &format!("total;dur=1;desc=\"{CANARY}\""))
        .header("via", &format!("1.1 edge ({CANARY})"))
        .header("warning", &format!("199 - \"{CANARY}\""))
        .header("x-error", CANARY)
        .header("link", &format!("</next?cursor={CANARY}>; rel=next"))
        .body(format!("{{\"error\": \"{CANARY}\"}}"))
}

/// Returns all forms of the timelines.
fn told(timelines: &[Timeline]) -> Vec<(&'static str, String)> {
    let mut told = vec![("all as har", timelines.iter().collect::<Har>().to_string())];
    for timeline in timelines {
        told.extend([
            ("display", timeline.to_string()),
            ("debug", format!("{timeline:?}")),
            ("pretty debug", format!("{timeline:#?}")),
            ("waterfall", timeline.waterfall().colored(true).to_string()),
            ("har", timeline.to_har().to_string()),
            ("debug of har", format!("{:?}", timeline.to_har())),
            ("json", serde_json::to_string(timeline).unwrap()),
            ("notes", format!("{:?}", timeline.events())),
            ("attempts", format!("{:?}", timeline.attempts())),
            (
                "outcome",
                format!("{:?} {:?}", timeline.outcome(), timeline.no_retry_reason()),
            ),
        ]);
    }
    told
}

/// Makes calls with a canary wherever a caller can put one. One is redirected and then rejected, one gets a body
/// that breaks off, and one cannot be encoded.
async fn calls((keep, direct): (bool, bool)) -> (Vec<Timeline>, Vec<String>) {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let there = format!(
        "http://u:{CANARY}@api.test:{}/v2?next={CANARY}#{CANARY}",
        server.addr().port()
    );
    server.on_request([
        telling(307).header("location", &there).into(),
        telling(403).into(),
        Reply::TruncateBody {
            declared: 100,
            sent: CANARY.into(),
        },
    ]);
    let place = url(&server, "http").replace("http://", &format!("http://user:{CANARY}@"));
    let client = match direct {
        true => net.builder().heard().build().unwrap(),
        false => net.client(),
    };
    let (mut timelines, mut errors) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let mut post = client
            .post(format!("{place}?key={CANARY}"))
            .query(&[("token", CANARY)])
            .header("authorization", format!("Bearer {CANARY}"))
            .options(|options| {
                options
                    .idempotency_key(IdempotencyKey::new(CANARY).unwrap())
                    .retry(false)
            })
            .body(CANARY);
        for name in SECRET {
            post = post.header(name, CANARY);
        }
        if keep {
            // All secret headers that a caller could name by mistake, except for one with an unknown name.
            let named = SECRET.iter().filter(|name| **name != "x-unheard-of");
            let named = named.chain(&["authorization", "set-cookie", "idempotency-key"]);
            let named: Vec<_> = named.map(|name| HeaderName::from_static(name)).collect();
            post = post.options(|options| options.keep_headers(named));
        }
        let response = post.send().await.unwrap();
        timelines.push(response.timeline().cloned().unwrap());
        let body = match response.error_for_status() {
            Ok(response) => response.bytes().await,
            Err(error) => Err(error),
        };
        errors.extend(body.err());
    }
    let unwritten = client
        .get(format!("http://u:{CANARY}@api.test/?{CANARY}"))
        .header("x-bad", format!("{CANARY}\n"));
    let error = unwritten.send().await.unwrap_err();
    timelines.push(error.timeline().cloned().unwrap());
    errors.push(error);
    assert_eq!(server.requests().len(), 3, "nothing was refused on the way");
    assert_eq!(errors.len(), 3);
    let recorder = client.flight_recorder().unwrap();
    let recorded = [
        recorder.to_string(),
        format!("{recorder:?} {:?}", recorder.destinations()),
        serde_json::to_string(recorder).unwrap(),
        recorder.to_har().to_string(),
    ];
    assert!(recorded[0].contains("2 failed"), "{}", recorded[0]);
    let errors = errors.iter().map(all_of).chain(recorded);
    (timelines, errors.collect())
}

/// Returns an error in all its forms, and its causes.
fn all_of(error: &sevenhops::Error) -> String {
    let mut all = format!("{error} {error:?} {error:#?}");
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        all.push_str(&format!(" {error} {error:?}"));
        cause = error.source();
    }
    all
}

#[tokio::test]
async fn no_secret_is_in_any_output_of_a_call() {
    for how in [(false, false), (false, true), (true, false), (true, true)] {
        let listening = Told::listen();
        let (timelines, errors) = calls(how).await;
        assert_eq!(timelines[0].attempt_count(), 2);
        let spans = format!("{:?}", listening.spans());
        assert!(
            spans.contains("redirected") && spans.contains("REDACTED"),
            "{spans}"
        );
        assert!(!spans.contains(CANARY), "{spans}");
        for error in errors {
            assert!(!error.contains(CANARY), "{error}");
        }
        for (form, text) in told(&timelines) {
            assert!(!text.contains(CANARY), "{form}:\n{text}");
            assert!(
                !text.contains("?key") && !text.contains("user:"),
                "{form}:\n{text}"
            );
        }
    }
}

/// Calls a service that declines, and keeps all headers that may be kept.
async fn decline(server: &FaultServer, net: &Net, direct: bool) -> sevenhops::Error {
    let client = match direct {
        true => net.builder().heard().build().unwrap(),
        false => net.client(),
    };
    server.on_request([telling(402).into()]);
    let named: Vec<_> = SECRET.map(HeaderName::from_static).into();
    let post = client
        .post(url(server, "http"))
        .options(|options| options.keep_headers(named));
    post.fetch_bytes().await.unwrap_err()
}

#[tokio::test]
async fn body_of_an_error_is_only_where_it_was_requested() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    for direct in [false, true] {
        let listening = Told::listen();
        let error = decline(&server, &net, direct).await;
        let body = format!("{{\"error\": \"{CANARY}\"}}");
        assert_eq!(error.body().unwrap(), body.as_bytes());
        let shown = format!(
            "{} {:?}",
            all_of(&error),
            sevenhops::sdk::classify_error(&error)
        );
        assert!(!shown.contains(CANARY), "{shown}");
        let timeline = error.timeline().cloned().unwrap();
        for (form, text) in told(&[timeline]) {
            assert!(text.contains("402") || form == "notes" || form == "outcome");
            assert!(!text.contains(CANARY), "{form}:\n{text}");
        }
        drop(error);
        let spans = format!("{:?}", listening.spans());
        assert!(spans.contains("402") && !spans.contains(CANARY), "{spans}");
    }
}

#[tokio::test]
async fn server_report_is_shown_without_secrets() {
    let (timelines, _) = calls((true, false)).await;
    let attempts = timelines[0].attempts();
    let said = attempts[1].server_report().cloned().unwrap();
    assert_eq!(said.via, ["edge"]);
    assert_eq!(said.proxies.len(), 2);
    assert_eq!(said.timings[0].name, "total");
    let har = timelines[0].to_har().to_string();
    assert!(
        har.contains("\"x-api-key\"") && har.contains("(redacted)"),
        "{har}"
    );
    assert!(har.contains("\"redirectURL\":\"http://api.test"), "{har}");
}
