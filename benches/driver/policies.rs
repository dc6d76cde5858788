//! The stacks whose policies `policies` measures, and whose instructions `instructions policies` counts.

use std::fmt::Debug;
use std::future::ready;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body::Body;
use http_body_util::Full;
use sevenhops::{
    AttemptLayer, CircuitBreakerConfig, CircuitBreakerLayer, ConcurrencyConfig, ConcurrencyLayer,
    Config, Consistency, DeadlineLayer, EndpointConfig, EndpointsConfig, Error, HedgeConfig,
    HedgeLayer, IdempotencyLayer, RateLimitConfig, RateLimitLayer, RedirectConfig, RedirectLayer,
    RetryConfig, RetryLayer, StaleConfig, StandardLayer, ThrottleConfig, ThrottleLayer, Timeouts,
};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::driver::{Answer, Ask, DEADLINE, Leaf, Ruler, runtime};
use crate::rival;

/// Runs the cases, in the order of the report.
pub(crate) fn each_policy(ruler: &mut impl Ruler) {
    let timeouts = Timeouts::new(DEADLINE).expect("ten seconds are a deadline");
    let call = DeadlineLayer::new(DEADLINE).expect("ten seconds are a deadline");
    let redirect = RedirectLayer::new(RedirectConfig::new()).expect("defaults are valid");
    let retry = RetryLayer::new(RetryConfig::new()).expect("defaults are valid");
    let standard = StandardLayer::new(DEADLINE).expect("ten seconds are a deadline");
    let get = ask(Method::GET);
    ruler.measure("GET", &get, LEAF);
    ruler.measure("GET +call", &get, call.layer(LEAF));
    both_ways(ruler, "idempotency", &get, &IdempotencyLayer::default());
    both_ways(ruler, "redirect", &get, &redirect);
    both_ways(ruler, "retry", &get, &retry);
    both_ways(ruler, "breaker", &get, &CircuitBreakerLayer::new(timeouts));
    let throttle = ThrottleLayer::new(ThrottleConfig::new()).expect("defaults are valid");
    both_ways(ruler, "throttle", &get, &throttle);
    let concurrency = ConcurrencyLayer::new(ConcurrencyConfig::new()).expect("defaults are valid");
    both_ways(ruler, "concurrency", &get, &concurrency);
    // So many that no call waits.
    let rate_limit = RateLimitConfig::new(1_000_000_000);
    let rate_limit = RateLimitLayer::new(rate_limit).expect("a rate");
    both_ways(ruler, "rate limit", &get, &rate_limit);
    let hedge = HedgeLayer::new(HedgeConfig::new()).expect("defaults are valid");
    both_ways(ruler, "hedge", &get, &hedge);
    both_ways(ruler, "attempt", &get, &AttemptLayer::new(timeouts));
    ruler.measure("GET +standard", &get, standard.layer(LEAF));
    for (name, config) in opt_in() {
        let stack = StandardLayer::from_config(&config).expect("a config");
        let name = format!("GET +standard +{name}");
        ruler.measure(&name, &get, stack.layer(LEAF));
    }
    // Nothing fails, so nothing calls it.
    let fallback = standard.clone().fallback(|_| ready(None));
    ruler.measure("GET +standard +fallback", &get, fallback.layer(LEAF));
    ruler.measure(
        "GET +tower-resilience",
        &get,
        rival::tower_resilience_stack(LEAF),
    );

    let post = ask(Method::POST);
    ruler.measure("POST", &post, LEAF);
    ruler.measure("POST +call", &post, call.layer(LEAF));
    both_ways(ruler, "idempotency", &post, &IdempotencyLayer::default());
    ruler.measure("POST +standard", &post, standard.layer(LEAF));

    let open = open_breaker(timeouts);
    let refusing = refused(open.layer(LEAF));
    ruler.measure("GET +open breaker", &get, refusing);
    let refusing = refused(call.layer(open.layer(LEAF)));
    ruler.measure("GET +call +open breaker", &get, refusing);
}

/// Returns configs of a stack with one more policy.
fn opt_in() -> [(&'static str, Config); 6] {
    let config = || Config::new(DEADLINE);
    let region = |url| EndpointConfig::new(url);
    let endpoints = EndpointsConfig::new()
        .endpoint(region("https://eu.api.test"))
        .endpoint(region("https://us.api.test").priority(1));
    let stale = StaleConfig::new()
        .store_bytes(1 << 20)
        .consistency(Consistency::StaleFor(DEADLINE));
    let rate_limit = RateLimitConfig::new(1_000_000_000);
    [
        ("throttle", config().throttle(ThrottleConfig::new())),
        (
            "concurrency",
            config().concurrency(ConcurrencyConfig::new()),
        ),
        ("rate limit", config().rate_limit(rate_limit)),
        ("hedge", config().hedge(HedgeConfig::new())),
        ("stale", config().stale(stale)),
        ("endpoints", config().endpoints("api.test", endpoints)),
    ]
}

/// Measures a policy inside a call, and alone.
fn both_ways<L, R>(ruler: &mut impl Ruler, name: &str, ask: &Ask, policy: &L)
where
    L: Layer<Leaf, Service: Service<Ask, Response = Response<R>, Error = Error>>,
    R: Body<Error: Debug + Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    let call = DeadlineLayer::new(DEADLINE).expect("ten seconds are a deadline");
    let method = ask.method();
    let in_call = call.layer(policy.layer(LEAF));
    ruler.measure(&format!("{method} +call +{name}"), ask, in_call);
    let alone = policy.layer(LEAF);
    ruler.measure(&format!("{method} +{name}"), ask, alone);
}

/// Returns a request as an application sends it: a URL with a query, and five headers.
pub(crate) fn ask(method: Method) -> Ask {
    let mut ask = Request::new(Full::new(Bytes::from_static(b"amount=100")));
    *ask.method_mut() = method;
    *ask.uri_mut() = Uri::from_static("https://api.test/v1/charges?expand=customer");
    let headers = [
        (header::ACCEPT, "application/json"),
        (
            header::AUTHORIZATION,
            "Bearer 0123456789abcdef0123456789abcdef",
        ),
        (header::CONTENT_TYPE, "application/x-www-form-urlencoded"),
        (header::USER_AGENT, "shop/1.0"),
        (header::HeaderName::from_static("x-request-id"), "4711"),
    ];
    *ask.headers_mut() =
        HeaderMap::from_iter(headers.map(|(name, value)| (name, HeaderValue::from_static(value))));
    ask
}

/// Returns a breaker that failures have opened, for longer than the benchmark takes.
fn open_breaker(timeouts: Timeouts) -> CircuitBreakerLayer {
    let long = Duration::from_secs(60 * 60);
    let settings = CircuitBreakerConfig::new()
        .max_break_duration(long)
        .break_duration(long);
    let breaker =
        CircuitBreakerLayer::from_config(timeouts, settings).expect("an hour is an open time");
    let failing = breaker.layer(service_fn(async |_: Ask| {
        let mut answer = Answer::default();
        *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        Ok::<_, Error>(answer)
    }));
    runtime().block_on(async {
        for _ in 0..20 {
            let answer = failing.clone().oneshot(ask(Method::GET)).await;
            drop(answer.expect("it is not open yet"));
        }
    });
    breaker
}

/// Turns the error of a service into its response. The service has to fail.
fn refused<S>(service: S) -> impl Service<Ask, Response = Answer, Error = Error>
where
    S: Service<Ask, Error = Error>,
{
    service.map_result(|result| match result {
        Err(error) => {
            assert!(error.rejected_by().is_some(), "{error}");
            Ok(Answer::default())
        }
        Ok(_) => panic!("an open breaker refuses"),
    })
}

const LEAF: Leaf = Leaf { waits: false };
