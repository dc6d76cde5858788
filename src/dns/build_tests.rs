use std::path::Path;

use super::*;
use crate::dns::nsswitch::HostsOrder;
use crate::dns::scripted::{File, counting};
use crate::dns::system::System;
use crate::dns::{Resolution, Resolve};

#[tokio::test]
async fn resolver_without_a_name_server_resolves_what_needs_none() {
    let empty = File::new("no-server", "search corp.test\n");
    let hosts = File::new("no-server-hosts", "10.0.0.1 api.test\n");
    for (conf, why) in [
        (
            &*empty.0,
            "has no line `nameserver ADDRESS`: add one, or set",
        ),
        (
            Path::new("/nonexistent/resolv.conf"),
            "No such file or directory (os error 2)): create",
        ),
    ] {
        let builder = Resolver::builder().resolv_conf(conf);
        let resolver = builder.hosts_file(&*hosts.0).build().unwrap();
        for host in ["api.test", "localhost", "10.0.0.2", "[::1]"] {
            assert!(resolver.resolve(host).answer().await.is_ok(), "{host}");
        }
        let error = resolver.resolve("other.test").answer().await.unwrap_err();
        assert_eq!(error.reason(), crate::dns::DnsErrorReason::Unreachable);
        let text = error.to_string();
        assert!(
            text.starts_with("no name server to look up other.test: "),
            "{text}"
        );
        assert!(
            text.contains(conf.to_str().unwrap()) && text.contains(why),
            "{text}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn name_server_that_comes_later_is_asked() {
    let file = File::new("server-later", "#\n");
    let builder = Resolver::builder().resolv_conf(&file.0).port(9);
    let resolver = builder.hosts_file(false).build().unwrap();
    let error = resolver.resolve("api.test").answer().await.unwrap_err();
    assert!(error.to_string().contains("add one"), "{error}");

    file.write("nameserver 127.0.0.1\n");
    tokio::time::advance(Duration::from_secs(60)).await;
    let error = resolver.resolve("api.test").answer().await.unwrap_err();
    assert!(!error.to_string().contains("add one"), "{error}");
}

#[test]
fn resolv_conf_is_honored() {
    let file = File::new(
        "full",
        "nameserver 127.0.0.1\nnameserver ::1\nnameserver 127.0.0.1\n\
         search Corp.test other.test.\noptions ndots:3 use-vc\n",
    );
    let system = System::read(&file.0).unwrap();

    assert_eq!(
        system.name_servers,
        ["127.0.0.1:53", "[::1]:53"].map(|server| server.parse().unwrap())
    );
    assert_eq!(system.search, ["Corp.test", "other.test."]);
    assert_eq!((system.ndots, system.tcp), (Some(3), true));
    assert!(Resolver::builder().resolv_conf(&file.0).build().is_ok());
}

#[test]
fn malformed_lines_of_resolv_conf_are_ignored_with_one_warning() {
    let file = File::new(
        "malformed",
        "nameserver\nnameserver 300.0.0.1\noptions ndots:many nonsense\n\u{7f}\nsearch\n\
         domain corp.test extra\nnameserver 127.0.0.1\noptions ndots:99\n",
    );
    let (system, warnings) = counting(|| System::read(&file.0));
    let system = system.unwrap();

    assert_eq!(system.name_servers.len(), 1);
    assert_eq!(system.ndots, Some(15));
    assert_eq!(warnings, 1);
}

#[tokio::test]
async fn hosts_file_stands_where_nsswitch_has_it() {
    for (line, first, only_there) in [
        ("hosts: files dns", "10.0.0.1", Some("10.0.0.2")),
        ("hosts: dns files", "10.9.9.9", Some("10.0.0.2")),
        ("hosts: dns", "10.9.9.9", None),
    ] {
        let dns = crate::dns::scripted::Scripted::default();
        dns.four("api.test", "10.9.9.9", 60);
        let hosts = "10.0.0.1 api.test\n10.0.0.2 other.test\n";
        let resolver = Resolver::builder().finish(Arc::new(dns.clone())).unwrap();
        resolver.set_hosts(hosts, line);

        let ask = async |host: &str| {
            let answer = resolver.resolve(host).answer().await.ok()?;
            Some(answer.addresses()[0].to_string())
        };
        assert_eq!(ask("api.test").await.as_deref(), Some(first), "{line}");
        assert_eq!(ask("other.test").await.as_deref(), only_there, "{line}");
        assert!(ask("localhost").await.is_some(), "{line}");
    }
}

#[test]
fn nsswitch_is_about_the_systems_hosts_file_only() {
    let file = File::new("nsswitch", "hosts: dns\n");
    let order = |builder: ResolverBuilder| builder.nsswitch(&file.0).plan.hosts_order().unwrap();
    assert_eq!(order(Resolver::builder()), HostsOrder::Never);
    let own = Resolver::builder().hosts_file(Path::new("/etc/hosts"));
    assert_eq!(order(own), HostsOrder::First);
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn use_vc_asks_over_tcp_only() {
    use crate::testing::{DnsScript, QueryTransport, ScriptedDns};
    let dns = ScriptedDns::start().await.unwrap();
    let address = [10, 0, 0, 1];
    dns.set(
        "api.test",
        DnsScript::addresses([address.into()]).tcp_only(),
    );
    let file = File::new("use-vc", "nameserver 127.0.0.1\noptions use-vc\n");
    let builder = Resolver::builder().resolv_conf(&file.0);
    let builder = builder.port(dns.addr().port()).hosts_file(false);

    let answer = builder.build().unwrap().resolve("api.test").answer().await;

    assert_eq!(answer.unwrap().addresses().len(), 1);
    let queries = dns.queries();
    assert!(queries.iter().all(|q| q.transport == QueryTransport::Tcp));
}

proptest::proptest! {
    #[test]
    fn no_content_of_a_file_panics(bytes in "(nameserver|hosts:|options|search|[\\[\\]:#.%a-z0-9 \t\n]|.){0,60}") {
        let file = File::new("any", "");
        std::fs::write(&file.0, &bytes).unwrap();
        let _ = System::read(&file.0);
        let _ = HostsOrder::read(&file.0);
        let _ = HostsFile::At(file.0.clone()).read();
    }
}

#[test]
fn hosts_file_at_a_path_is_honored_and_has_to_be_there() {
    let file = File::new("hosts", "10.0.0.1 api.test\n");
    let builder = || Resolver::builder().name_servers([SERVER.parse().unwrap()]);

    let resolver = builder().hosts_file(&*file.0).build().unwrap();
    assert!(matches!(
        resolver.resolve("api.test"),
        Resolution::Cached(Ok(_))
    ));

    let missing = builder().hosts_file(Path::new("/nonexistent/hosts"));
    let error = missing.build().unwrap_err().to_string();
    assert_eq!(
        error,
        "resolver.hosts_file /nonexistent/hosts cannot be used: No such file or directory (os error 2)"
    );
}

#[test]
fn contradictions_are_refused_naming_both_fields_and_values() {
    let hour = Duration::from_secs(60 * 60);
    let error = refusal(|builder| builder.ttl_floor(hour * 2));
    assert_eq!(
        error,
        "resolver.ttl_floor: 7200s is invalid: expected at most resolver.ttl_ceiling (3600s)"
    );

    let error = refusal(|b| b.failure_backoff(Duration::from_secs(2), Duration::from_secs(1)));
    assert_eq!(
        error,
        "resolver.failure_backoff.first: 2s is invalid: expected more than 0s, at most 1s"
    );
}

#[test]
fn option_out_of_range_is_refused_with_its_value_and_range() {
    type Change = fn(ResolverBuilder) -> ResolverBuilder;
    const SECOND: Duration = Duration::from_secs(1);
    const ENDLESS: Duration = Duration::MAX;
    let table: [(Change, &str); 10] = [
        (
            |b| b.timeout(Duration::ZERO),
            "timeout: 0ns is invalid: expected more than 0s, at most 86400s",
        ),
        (
            |b| b.timeout(ENDLESS),
            "timeout: 18446744073709551615.999999999s is invalid",
        ),
        (
            |b| b.failure_backoff(Duration::ZERO, SECOND),
            "failure_backoff.first: 0ns is invalid: expected more than 0s, at most 1s",
        ),
        (
            |b| b.failure_backoff(SECOND, ENDLESS),
            "failure_backoff.most: 18446744073709551615.999999999s is invalid",
        ),
        (
            |b| b.name_servers([]),
            "name_servers: [] is invalid: expected one server or more",
        ),
        (
            |b| b.capacity(0),
            "capacity: 0 is invalid: expected at least 1",
        ),
        (
            |b| b.ttl_floor(Duration::ZERO).ttl_ceiling(Duration::ZERO),
            "ttl_ceiling: 0ns is invalid",
        ),
        (
            |b| b.negative_ceiling(Duration::ZERO),
            "negative_ceiling: 0ns is invalid",
        ),
        (
            |b| b.stale_limit(ENDLESS),
            "stale_limit: 18446744073709551615.999999999s is invalid",
        ),
        (|b| b.ndots(16), "ndots: 16 is invalid: expected at most 15"),
    ];
    for (change, expected) in table {
        let error = refusal(change);
        assert!(
            error.starts_with(&format!("resolver.{expected}")),
            "{error}"
        );
    }
}

fn refusal(change: impl Fn(ResolverBuilder) -> ResolverBuilder) -> String {
    let builder = Resolver::builder().name_servers([SERVER.parse().unwrap()]);
    change(builder).build().unwrap_err().to_string()
}

const SERVER: &str = "127.0.0.1:53";
