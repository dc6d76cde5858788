//! Tests the spans of a call: which are opened and closed, in which order, and with which fields.

mod names;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sevenhops::testing::{
    CannedResponse, DnsScript, FaultServer, Gate, Reply, ScriptedDns, TestCa,
};
use sevenhops::{Client, Effect, Operation, StandardLayer};
use tower::{Layer as _, ServiceExt, service_fn};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Instrument, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

const CANARY: &str = "canary-91c2";

/// Records the spans of this crate that a subscriber receives.
#[derive(Clone, Default)]
struct Tape(Arc<Mutex<Vec<String>>>);

#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> tracing_subscriber::Layer<S> for Tape {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, cx: Context<'_, S>) {
        let span = cx.span(id).unwrap();
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        span.extensions_mut().insert(fields);
        let parent = span.parent().map_or("-", |parent| parent.name());
        self.0
            .lock()
            .unwrap()
            .push(format!("+{} in {parent}", span.name()));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, cx: Context<'_, S>) {
        let span = cx.span(id).unwrap();
        values.record(span.extensions_mut().get_mut::<Fields>().unwrap());
    }

    fn on_close(&self, id: Id, cx: Context<'_, S>) {
        let span = cx.span(&id).unwrap();
        let fields = &span.extensions().get::<Fields>().unwrap().0.clone();
        self.0
            .lock()
            .unwrap()
            .push(format!("-{} {fields:?}", span.name()));
    }
}

impl Tape {
    /// Returns only the names: which span opened below which, and which closed.
    fn sequence(&self) -> Vec<String> {
        let lines = self.0.lock().unwrap();
        let names = lines
            .iter()
            .map(|line| line.split(" {").next().unwrap().to_owned());
        names.collect()
    }

    fn closed(&self, name: &str) -> String {
        let lines = self.0.lock().unwrap();
        let closed = lines
            .iter()
            .find(|line| line.starts_with(&format!("-{name} ")));
        closed.unwrap().clone()
    }
}

/// Makes one call under its own subscriber.
async fn taped(reply: Option<Reply>) -> (Tape, Option<sevenhops::Error>) {
    let tape = Tape::default();
    let subscriber = tracing_subscriber::registry().with(tape.clone());
    let _guard = crate::listen::listen(subscriber);
    let authority = TestCa::new().unwrap();
    let dns = ScriptedDns::start().await.unwrap();
    dns.set("api.test", DnsScript::addresses([[127, 0, 0, 1].into()]));
    let identity = authority.issue(&["api.test"]).unwrap();
    let server = FaultServer::builder().tls(identity).start().await.unwrap();
    server.on_request(reply);
    let client = Client::builder(Duration::from_secs(10))
        .transport(|transport| {
            transport
                .tls(authority.client_config())
                .resolver(dns.resolver())
        })
        .build()
        .unwrap();
    let url = format!(
        "https://{CANARY}:{CANARY}@api.test:{}/v1/charges/ch_1?key={CANARY}",
        server.addr().port()
    );
    let call = async {
        client
            .post(&url)
            .header("x-secret", CANARY)
            .body(CANARY)
            .options(|options| options.route("/v1/charges/{id}"))
            .send()
            .await?
            .error_for_status()?
            .bytes()
            .await
    };
    let error = call.in_current_span().await.err();
    (tape, error)
}

#[tokio::test]
async fn connect_span_of_a_queued_call_is_marked() {
    let tape = Tape::default();
    let subscriber = tracing_subscriber::registry().with(tape.clone());
    let _guard = crate::listen::listen(subscriber);
    let server = FaultServer::start().await.unwrap();
    let gate = Gate::new();
    server.default_reply(CannedResponse::default().hold(&gate));
    let client = Client::builder(Duration::from_secs(10))
        .transport(|transport| transport.max_connections_per_destination(1))
        .build()
        .unwrap();
    let held = async {
        server.wait_until(|stats| stats.requests == 1).await;
        gate.open();
    };
    let [first, second] = [(); 2].map(|()| client.get(server.url("/")).fetch_bytes());
    let (first, second, ()) = tokio::join!(first, second, held);
    first.unwrap();
    second.unwrap();
    let lines = tape.0.lock().unwrap();
    let connects = lines.iter().filter(|line| line.starts_with("-connect"));
    let queued: Vec<_> = connects
        .map(|line| {
            let is_queued = line.contains(r#""sevenhops.queued": "true""#);
            (is_queued, line.contains("network.peer.address"))
        })
        .collect();
    assert_eq!(queued, [(false, true), (true, false)]);
}

#[cfg(unix)]
#[tokio::test]
async fn unix_socket_is_the_peer_of_connect_and_attempt() {
    let tape = Tape::default();
    let subscriber = tracing_subscriber::registry().with(tape.clone());
    let _guard = crate::listen::listen(subscriber);
    let path = "/sevenhops-is-not-there/socket";
    let client = Client::builder(Duration::from_secs(10))
        .transport(move |transport| transport.unix_socket(path))
        .build()
        .unwrap();
    let get = client
        .get("http://api.test/")
        .options(|options| options.retry(false));
    get.send().await.unwrap_err();
    for span in ["connect", "attempt"] {
        let closed = tape.closed(span);
        assert!(closed.contains(path), "{closed}");
    }
    assert!(tape.closed("connect").contains("unix"));
}

#[tokio::test]
async fn successful_call_opens_and_closes_its_spans_in_order() {
    let (tape, error) = taped(None).await;
    assert!(error.is_none());
    assert_eq!(
        tape.sequence(),
        [
            "+call in -",
            "+attempt in call",
            "+dns in attempt",
            "-dns",
            "+connect in attempt",
            "-connect",
            "+tls in attempt",
            "-tls",
            "+send in attempt",
            "-send",
            "+wait in attempt",
            "-wait",
            "+receive in attempt",
            "-receive",
            "-attempt",
            "-call",
        ]
    );
    let attempt = tape.closed("attempt");
    for said in [
        r#""http.request.method": "\"POST\"""#,
        r#""http.response.status_code": "200""#,
        r#""server.address": "\"api.test\"""#,
        r#""url.full": "\"https://REDACTED:REDACTED@api.test"#,
        r#""otel.name": "\"POST /v1/charges/{id}\"""#,
        r#""url.template": "\"/v1/charges/{id}\"""#,
        r#""http.request.body.size": "11""#,
        r#""network.peer.address": "\"127.0.0.1\"""#,
        r#""network.protocol.version": "\"1.1\"""#,
        r#""otel.kind": "\"client\"""#,
    ] {
        assert!(attempt.contains(said), "{said} is not in {attempt}");
    }
    assert!(!attempt.contains("error.type"), "{attempt}");
    assert!(tape.closed("call").contains("/v1/charges/{id}"));
}

#[tokio::test]
async fn failing_hop_is_marked_and_so_are_attempt_and_call() {
    let (tape, error) = taped(Some(Reply::CloseAfterRequest)).await;
    assert_eq!(error.unwrap().effect(), Effect::Possible);
    for span in ["wait", "attempt", "call"] {
        let closed = tape.closed(span);
        for said in [
            r#""error.type": "\"connection_terminated\"""#,
            r#""otel.status_code": "\"ERROR\"""#,
            r#""sevenhops.hop": "\"server\"""#,
            r#""sevenhops.effect": "\"possible\"""#,
        ] {
            assert!(closed.contains(said), "{said} is not in {closed}");
        }
    }
    assert!(!tape.closed("send").contains("ERROR"));
    assert!(!tape.sequence().contains(&"+receive in attempt".to_owned()));
}

#[tokio::test]
async fn status_failure_is_named_by_its_code() {
    let answer = CannedResponse::new(http::StatusCode::BAD_GATEWAY);
    let (tape, _) = taped(Some(answer.into())).await;
    for span in ["wait", "attempt", "call"] {
        let closed = tape.closed(span);
        assert!(closed.contains(r#""error.type": "\"502\"""#), "{closed}");
        assert!(
            closed.contains(r#""sevenhops.hop": "\"gateway\"""#),
            "{closed}"
        );
    }
}

#[tokio::test]
async fn no_secret_reaches_a_span() {
    for reply in [None, Some(Reply::ResetAfterRequest), Some(Reply::garbage())] {
        let (tape, error) = taped(reply).await;
        let told = format!("{:?} {error:?}", tape.0.lock().unwrap());
        assert!(told.contains("/v1/charges/ch_1"), "{told}");
        assert!(!told.contains(CANARY), "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn call_cancelled_between_two_attempts_is_not_an_error() {
    let tape = Tape::default();
    let subscriber = tracing_subscriber::registry().with(tape.clone());
    let _guard = crate::listen::listen(subscriber);
    let layer = StandardLayer::new(Duration::from_secs(10)).unwrap();
    let service = layer.layer(service_fn(async |_: http::Request<String>| {
        let down = http::Response::builder().status(503);
        down.header("retry-after", "1").body(String::new())
    }));
    let get = http::Request::get("https://api.test/").body(String::new());
    let calling = service.oneshot(get.unwrap());
    let soon = Duration::from_millis(500);
    assert!(tokio::time::timeout(soon, calling).await.is_err());
    let (attempt, call) = (tape.closed("attempt"), tape.closed("call"));
    assert!(attempt.contains("otel.status_code"), "{attempt}");
    assert!(!call.contains("otel.status_code"), "{call}");
}

#[tokio::test]
async fn cancelled_call_closes_its_spans_and_is_not_an_error() {
    let tape = Tape::default();
    let subscriber = tracing_subscriber::registry().with(tape.clone());
    let _guard = crate::listen::listen(subscriber);
    let authority = TestCa::new().unwrap();
    let server = FaultServer::builder().start().await.unwrap();
    server.default_reply(Reply::Silent);
    let client = Client::builder(Duration::from_secs(10))
        .transport(|transport| {
            transport
                .tls(authority.client_config())
                .resolver(sevenhops::dns::StaticResolver::new())
        })
        .build()
        .unwrap();
    tokio::select! {
        _ = client.get(server.url("/")).send() => panic!("the server never responds"),
        _ = server.wait_until(|stats| stats.requests == 1) => {}
    }
    let sequence = tape.sequence();
    assert_eq!(
        sequence[sequence.len() - 3..],
        ["-wait", "-attempt", "-call"]
    );
    let told = format!("{:?}", tape.0.lock().unwrap());
    assert!(
        !told.contains("ERROR") && !told.contains("error.type"),
        "{told}"
    );
}

#[tokio::test(start_paused = true)]
async fn operation_opens_its_spans_and_inner_calls_are_children_of_its_attempt() {
    let tape = Tape::default();
    let subscriber = tracing_subscriber::registry().with(tape.clone());
    let _guard = crate::listen::listen(subscriber);
    let layer = StandardLayer::new(Duration::from_secs(10)).unwrap();
    let service = layer.layer(service_fn(async |_: http::Request<String>| {
        Err::<http::Response<String>, _>(std::io::Error::other("lost"))
    }));
    let operation = Operation::new("orders", Duration::from_secs(10)).unwrap();
    let operation = operation.name("insert order");
    let run = operation.run(async |_| Ok(service.clone().oneshot(Default::default()).await?));
    run.await.unwrap_err();
    let expected = [
        "+operation in -",
        "+operation attempt in operation",
        "+call in operation attempt",
        "+attempt in call",
        "-attempt",
        "-call",
        "-operation attempt",
        "-operation",
    ];
    assert_eq!(tape.sequence(), expected);
    let lines = tape.0.lock().unwrap().clone();
    for said in [
        r#""otel.name": "\"insert order\"""#,
        r#""sevenhops.destination": "\"orders\"""#,
        r#""sevenhops.attempts": "1""#,
        r#""sevenhops.effect": "\"possible\"""#,
    ] {
        assert!(lines.last().unwrap().contains(said), "{lines:#?}");
    }
}
