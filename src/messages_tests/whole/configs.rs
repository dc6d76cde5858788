//! Configs that are refused: every field in the tests' table, and the builders that no file describes.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::{Value, json};

use self::bad::{Row, TOGETHER};
use super::Section;
use crate::chaos::{ChaosConfig, ChaosLayer, Fault, Latency};
use crate::dns::{AddressFilter, Resolver, ResolverBuilder};
use crate::layer::{StaleLayer, StandardLayer};
use crate::policy::endpoints::{EndpointConfig, EndpointsConfig};
use crate::policy::stale::StaleConfig;
use crate::transport::{Transport, TransportBuilder};
use crate::{Client, Config, ConfigError, Timeouts};

#[allow(
    clippy::allow_attributes,
    dead_code,
    reason = "other tests need the rest"
)]
#[path = "../../../tests/layers/config/bad.rs"]
mod bad;
#[allow(
    clippy::allow_attributes,
    dead_code,
    reason = "other tests need the rest"
)]
#[path = "../../../tests/layers/config/bad_load.rs"]
mod bad_load;

pub(super) fn sections() -> Vec<Section> {
    vec![
        ("ConfigError, fields of a file", fields()),
        ("ConfigError, endpoints", endpoints()),
        ("ConfigError, transport", transports()),
        ("ConfigError, resolver", resolvers()),
        ("ConfigError, chaos", chaos()),
        ("ConfigError, client and layers", others()),
    ]
}

fn fields() -> Vec<String> {
    let file = |(path, value, _): &Row| {
        let value: Value = serde_json::from_str(value).unwrap();
        let names = path.rsplit('.');
        let mut file = names.fold(value, |inner, name| json!({ name: inner }));
        if file.get("deadline").is_none() {
            file["deadline"] = json!("10s");
        }
        file
    };
    let single = bad::ROWS.iter().chain(bad_load::ROWS).map(file);
    let together = TOGETHER.iter().chain(bad_load::TOGETHER);
    let together = together.map(|(_, text, _)| serde_json::from_str(text).unwrap());
    let refused = |file: Value| refused(&serde_json::from_value(file).unwrap());
    single.chain(together).map(refused).collect()
}

fn refused(config: &Config) -> String {
    StandardLayer::from_config(config)
        .err()
        .unwrap()
        .to_string()
}

fn endpoints() -> Vec<String> {
    let to = |urls: &[&str]| {
        let all = urls.iter().copied().map(EndpointConfig::new);
        all.fold(EndpointsConfig::new(), EndpointsConfig::endpoint)
    };
    let light = EndpointConfig::new("https://a.test").weight(0);
    let bad = [
        ("pay", to(&[])),
        ("pay", to(&["https://user:secret@a.test"])),
        ("pay", to(&["https://a.test", "http://b.test"])),
        ("pay", to(&["https://a.test", "https://a.test"])),
        ("pay", to(&["https://pay"])),
        ("pay", EndpointsConfig::new().endpoint(light)),
        ("Pay:80", to(&["https://a.test"])),
    ];
    let config = || Config::new(Duration::from_secs(10));
    let refused = bad.map(|(name, endpoints)| refused(&config().endpoints(name, endpoints)));
    refused.into()
}

/// Shows a refusal with its causes.
fn shown(error: &ConfigError) -> String {
    let causes = crate::chain::chain(error).skip(1);
    causes.fold(error.to_string(), |all, cause| {
        format!("{all} | because: {cause}")
    })
}

fn transports() -> Vec<String> {
    type Set = fn(TransportBuilder) -> TransportBuilder;
    const SECS: fn(u64) -> Duration = Duration::from_secs;
    let bad: [Set; 24] = [
        |t| t.max_connections(0),
        |t| t.max_connections_per_destination(0),
        |t| t.http1_max_headers(0),
        |t| t.http1_max_headers(32_769),
        |t| t.http1_max_header_bytes(0),
        |t| t.http2_max_header_bytes(0),
        |t| t.scope_id(0),
        |t| t.http1_only(true).http2_prior_knowledge(true),
        |t| t.tcp_keepalive(SECS(0), SECS(1), 1),
        |t| t.tcp_keepalive(SECS(1), SECS(0), 1),
        |t| t.tcp_keepalive(SECS(1), SECS(1), 0),
        |t| t.interface("a name that is too long"),
        |t| t.unix_socket(""),
        |t| t.unix_socket("/run/a.sock").scope_id(1),
        |t| {
            t.unix_socket("/run/a.sock")
                .filter(AddressFilter::public_only())
        },
        |t| t.unix_socket("/run/a.sock").proxy("http://a.test"),
        |t| {
            t.filter(AddressFilter::public_only())
                .proxy("http://a.test")
        },
        |t| t.proxy("socks5://a.test"),
        |t| t.proxy("http://"),
        |t| t.proxy("socks5h:///a"),
        |t| t.proxy("socks5h://a b.test"),
        |t| t.proxy("http://user:secret@a.test:99999"),
        |t| t.proxy("http://a.test").no_proxy("user:secret@10.0.0.0/99"),
        |t| {
            t.unix_socket("/run/a.sock")
                .resolver(crate::dns::StaticResolver::new())
        },
    ];
    let timeouts = Timeouts::new(SECS(10)).unwrap();
    let refused = bad.map(|set| {
        let built = set(Transport::builder(timeouts)).build();
        built.map_or_else(|error| shown(&error), |_| panic!("a bad value is accepted"))
    });
    refused.into()
}

fn resolvers() -> Vec<String> {
    type Set = fn(ResolverBuilder) -> ResolverBuilder;
    const SECS: fn(u64) -> Duration = Duration::from_secs;
    const AT: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 853);
    let bad: [Set; 14] = [
        |r| r.timeout(SECS(0)),
        |r| r.ttl_ceiling(SECS(0)),
        |r| r.negative_ceiling(SECS(0)),
        |r| r.failure_backoff(SECS(0), SECS(1)),
        |r| r.failure_backoff(SECS(2), SECS(1)),
        |r| r.failure_backoff(SECS(1), SECS(86_401)),
        |r| r.ttl_floor(SECS(2)).ttl_ceiling(SECS(1)),
        |r| r.stale_limit(SECS(40_000_000)),
        |r| r.name_servers([]),
        |r| r.capacity(0),
        |r| r.ndots(99),
        |r| r.tls_servers([(AT, "a name")]),
        |r| r.https_servers([(AT, "http://dns.test/dns-query")]),
        |r| r.hosts_file(std::path::PathBuf::from("/nonexistent/hosts")),
    ];
    let refused = bad.map(|set| {
        let built = set(Resolver::builder()).build();
        built.map_or_else(|error| shown(&error), |_| panic!("a bad value is accepted"))
    });
    refused.into()
}

fn chaos() -> Vec<String> {
    let ms = Duration::from_millis;
    let config = || ChaosConfig::new(1);
    let bad = [
        config().inject(Fault::Silence, 1.5),
        config()
            .inject(Fault::Silence, 0.6)
            .inject(Fault::BreakBody, 0.6),
        config().inject(Fault::Delay(Latency::between(ms(2), ms(1))), 0.5),
        config().inject(Fault::Delay(Latency::tailed(ms(0), ms(1))), 0.5),
        config().inject(Fault::Delay(Latency::tailed(ms(2), ms(1))), 0.5),
        config().inject(
            Fault::Respond {
                status: http::StatusCode::OK,
                retry_after: None,
            },
            0.5,
        ),
    ];
    bad.map(|config| ChaosLayer::new(config).err().unwrap().to_string())
        .into()
}

fn others() -> Vec<String> {
    let built = Client::builder(Duration::from_secs(10))
        .body_limit(0)
        .build();
    let mapped = std::net::Ipv6Addr::LOCALHOST.into();
    vec![
        built.err().unwrap().to_string(),
        StaleLayer::new(StaleConfig::new())
            .err()
            .unwrap()
            .to_string(),
        crate::dns::Cidr::new(mapped, 129).unwrap_err().to_string(),
    ]
}
