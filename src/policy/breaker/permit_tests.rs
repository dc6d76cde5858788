use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use http::StatusCode;

use super::*;
use crate::policy::breaker::{CircuitBreakerConfig, CircuitState, FailureWindow};
use crate::record::Addresses;
use crate::telemetry::AttemptSpans;
use crate::timeout::Timeouts;

const SECS: fn(u64) -> Duration = Duration::from_secs;

/// The addresses that DNS gives.
#[derive(Debug)]
struct Known(Mutex<Vec<IpAddr>>);

impl Addresses for Known {
    fn knows(&self, address: IpAddr) -> bool {
        self.0.lock().unwrap().contains(&address)
    }

    fn known(&self) -> Vec<IpAddr> {
        self.0.lock().unwrap().clone()
    }

    fn refresh(self: Arc<Self>) {}
}

fn host(last: u8) -> IpAddr {
    [127, 0, 0, last].into()
}

/// A policy that opens at the first slow response.
fn policy() -> CircuitBreakers {
    policy_after(1)
}

/// A policy that opens after this number of attempts, if half of them were slow, or all of them failed.
fn policy_after(attempts: u32) -> CircuitBreakers {
    let timeouts = Timeouts::new(SECS(60)).unwrap();
    let config = CircuitBreakerConfig::new().window(FailureWindow::Count(attempts));
    let config = config.failure_ratio(1.0);
    let config = config.slow_calls(SECS(1), 0.5).min_attempts(attempts);
    config.check(&timeouts).unwrap();
    CircuitBreakers {
        breaker: CircuitBreakerHandle::new(&timeouts, &config),
        judge: config.judge(&timeouts),
        key: None,
        hints: Hints::default(),
    }
}

/// A call whose response began after two seconds, from 127.0.0.1, and with a body that ends well.
async fn slow_call(policy: &CircuitBreakers, addresses: &Arc<Known>) {
    let mut request = Request::get(URL).body(()).unwrap();
    let call = Call::begin(&mut request, Duration::from_secs(60));
    let now = clock::now();
    let admitted = policy.admit((&request, None), &call, now);
    let admission = admitted.ok().flatten().unwrap();
    let timeouts = Timeouts::new(SECS(60)).unwrap();
    let tracker = Tracker::new(timeouts, AttemptSpans::default(), now);
    let known: Arc<dyn Addresses> = Arc::clone(addresses) as _;
    tracker.facts(|facts| {
        facts.peer = Some((host(1), 443).into());
        facts.addresses = Some(Arc::downgrade(&known));
    });
    call.attempt(Arc::new(tracker));
    tokio::time::advance(SECS(2)).await;
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::OK;
    let head = (false, Classified::default());
    let mut verdict = admission.head(&response, head, clock::now()).unwrap();
    verdict.end(clock::now());
}

const URL: &str = "https://api.test/";

#[tokio::test(start_paused = true)]
async fn slow_response_of_an_address_counts_only_as_long_as_dns_gives_it() {
    for (given, expected) in [(1, CircuitState::Open), (2, CircuitState::Closed)] {
        let policy = policy();
        let addresses = Arc::new(Known(Mutex::new(vec![host(given)])));
        slow_call(&policy, &addresses).await;
        let state = policy.breaker.state(&URL.parse().unwrap());
        assert_eq!(state, expected, "{given}");
    }
}

/// How a body ends.
#[derive(Clone, Copy, Debug)]
enum BodyEnd {
    Whole,
    BrokenOff,
    /// The reader still waits for it at the deadline.
    Late,
}

/// A call whose response began after `wait`, and ended in this way.
async fn call_that_ends(policy: &CircuitBreakers, wait: Duration, end: BodyEnd) {
    let mut request = Request::get(URL).body(()).unwrap();
    let call = Call::begin(&mut request, SECS(60));
    let admitted = policy.admit((&request, None), &call, clock::now());
    let admission = admitted.ok().flatten().unwrap();
    tokio::time::advance(wait).await;
    let head = (false, Classified::default());
    let response = Response::new(());
    let mut verdict = admission.head(&response, head, clock::now()).unwrap();
    match end {
        BodyEnd::Whole => verdict.end(clock::now()),
        BodyEnd::BrokenOff => verdict.fail(&Diagnosis::after_head(Hop::Receive, Kind::Incomplete)),
        BodyEnd::Late => {
            verdict.wait_for_more(true);
            tokio::time::advance(SECS(60)).await;
            drop(verdict);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn slow_response_counts_as_slow_however_its_body_ends() {
    for end in [BodyEnd::Whole, BodyEnd::BrokenOff, BodyEnd::Late] {
        for (wait, expected) in [
            (SECS(2), CircuitState::Open),
            // A body may take as long as it needs.
            (SECS(0), CircuitState::Closed),
        ] {
            let policy = policy_after(2);
            call_that_ends(&policy, SECS(0), BodyEnd::Whole).await;
            call_that_ends(&policy, wait, end).await;
            let state = policy.breaker.state(&URL.parse().unwrap());
            assert_eq!(state, expected, "{end:?} {wait:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn circuit_that_slow_responses_opened_probes_a_new_address_at_once() {
    let policy = policy();
    let addresses = Arc::new(Known(Mutex::new(vec![host(1)])));
    slow_call(&policy, &addresses).await;
    let mut request = Request::get(URL).body(()).unwrap();
    let call = Call::begin(&mut request, Duration::from_secs(60));
    for (given, passes) in [(vec![1], false), (vec![1, 2], true)] {
        *addresses.0.lock().unwrap() = given.iter().map(|last| host(*last)).collect();
        let admitted = policy.admit((&request, None), &call, clock::now());
        assert_eq!(admitted.is_ok(), passes, "{given:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn call_that_comes_late_does_not_half_open_another_opening() {
    let policy = policy();
    let addresses = Arc::new(Known(Mutex::new(vec![host(1)])));
    slow_call(&policy, &addresses).await;
    let now = clock::now();
    let circuit = policy.breaker.of(URL.parse().unwrap(), now);
    let opening = circuit.position().generation;
    for (since, expected) in [
        (opening - 1, CircuitState::Open),
        (opening + 1, CircuitState::Open),
        (opening, CircuitState::HalfOpen),
    ] {
        circuit.half_open_since(since, now);
        assert_eq!(circuit.position().state, expected);
    }
}
