use std::error::Error as _;
use std::path::Path;

use super::*;
use crate::dns::scripted::File;
use crate::dns::system::System;
use crate::dns::{Resolve, Resolving};

#[test]
fn d27_missing_resolv_conf_is_an_error_that_names_it() {
    let error = Resolver::builder()
        .resolv_conf("/nonexistent/resolv.conf")
        .build()
        .unwrap_err();

    assert_eq!(
        error.to_string(),
        "cannot take name servers from /nonexistent/resolv.conf"
    );
    assert!(error.source().is_some());
}

#[test]
fn d27_resolv_conf_without_a_server_is_an_error() {
    let file = File::new("no-server", "search corp.test\n");
    let error = Resolver::builder().resolv_conf(&file.0).build();
    let error = error.unwrap_err();

    assert!(error.to_string().ends_with(file.0.to_str().unwrap()));
}

#[test]
fn d27_resolv_conf_is_honoured() {
    let file = File::new(
        "full",
        "nameserver 127.0.0.1\nnameserver ::1\nsearch Corp.test other.test.\noptions ndots:3\n",
    );
    let system = System::read(&file.0).unwrap();

    assert_eq!(
        system.name_servers,
        ["127.0.0.1:53", "[::1]:53"].map(|server| server.parse().unwrap())
    );
    assert_eq!(system.search.len(), 2);
    assert_eq!(system.ndots, 3);
    assert!(Resolver::builder().resolv_conf(&file.0).build().is_ok());
}

#[test]
fn d27_hosts_file_at_a_path_is_honoured_and_has_to_be_there() {
    let file = File::new("hosts", "10.0.0.1 api.test\n");
    let builder = || Resolver::builder().name_servers([SERVER.parse().unwrap()]);

    let resolver = builder().hosts_file(&*file.0).build().unwrap();
    assert!(matches!(
        resolver.resolve("api.test"),
        Resolving::Known(Ok(_))
    ));

    let missing = builder().hosts_file(Path::new("/nonexistent/hosts"));
    let error = missing.build().unwrap_err().to_string();
    assert_eq!(error, "cannot read the hosts file /nonexistent/hosts");
}

#[test]
fn contradictions_are_refused_naming_both_fields_and_values() {
    let hour = Duration::from_secs(60 * 60);
    let error = refusal(|builder| builder.ttl_floor(hour * 2));
    assert_eq!(
        error,
        "ttl_floor (7200s) is longer than ttl_ceiling (3600s)"
    );

    let error = refusal(|b| b.failure_backoff(Limit::from_secs(2), Limit::from_secs(1)));
    assert_eq!(
        error,
        "failure_backoff.first (2s) is longer than failure_backoff.most (1s)"
    );
}

#[test]
fn nothing_is_refused_where_something_is_needed() {
    type Change = fn(ResolverBuilder) -> ResolverBuilder;
    let changes: [(Change, &str); 6] = [
        (|b| b.name_servers([]), "name_servers"),
        (|b| b.capacity(0), "capacity"),
        (
            |b| b.ttl_floor(Duration::ZERO).ttl_ceiling(Duration::ZERO),
            "ttl_ceiling",
        ),
        (|b| b.negative_ceiling(Duration::ZERO), "negative_ceiling"),
        (|b| b.stale_limit(Duration::ZERO), "stale_limit"),
        (|b| b.ndots(16), "ndots"),
    ];
    for (change, field) in changes {
        let error = refusal(change);
        assert!(error.starts_with(field), "{error}");
    }
}

fn refusal(change: impl Fn(ResolverBuilder) -> ResolverBuilder) -> String {
    let builder = Resolver::builder().name_servers([SERVER.parse().unwrap()]);
    change(builder).build().unwrap_err().to_string()
}

const SERVER: &str = "127.0.0.1:53";
