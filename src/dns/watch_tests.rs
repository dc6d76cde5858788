use tokio::time::advance;

use super::*;
use crate::dns::scripted::{File as Temporary, Say, Scripted, counting};
use crate::dns::{Family, Resolution, Resolve, Resolver};

#[tokio::test(start_paused = true)]
async fn hosts_file_is_read_again_when_it_changes() {
    let file = Temporary::new("hosts-again", "10.0.0.1 api.test\n");
    let builder = Resolver::builder().name_servers([SERVER.parse().unwrap()]);
    let resolver = builder.hosts_file(&*file.0).build().unwrap();
    assert_eq!(written(&resolver), "10.0.0.1");

    file.write("10.0.0.22 api.test\n");
    assert_eq!(
        written(&resolver),
        "10.0.0.1",
        "it does not look again immediately"
    );
    advance(LOOK_AGAIN).await;
    assert_eq!(written(&resolver), "10.0.0.22");

    file.remove();
    advance(LOOK_AGAIN).await;
    assert_eq!(written(&resolver), "10.0.0.22", "the last readable content");
    std::fs::write(&file.0, "10.0.0.3 api.test\n").unwrap();
    advance(LOOK_AGAIN).await;
    assert_eq!(written(&resolver), "10.0.0.3");
}

#[tokio::test(start_paused = true)]
async fn changed_hosts_file_is_noticed_although_every_lookup_is_a_hit() {
    let file = Temporary::new("hosts-hot", "# nothing\n");
    let dns = Scripted::default();
    dns.say(("api.test", Family::V4), 0, Say::Address("10.0.0.1", 60));
    dns.say(("api.test", Family::V6), 0, Say::Address("fd00::1", 60));
    let resolver = dns.resolver_with(|builder| builder.hosts_file(&*file.0));
    resolver.resolve("api.test").answer().await.unwrap();

    file.write("10.0.0.22 api.test\n");
    for _ in 0..120 {
        advance(Duration::from_millis(500)).await;
        tokio::task::yield_now().await;
        written(&resolver);
    }

    assert_eq!(written(&resolver), "10.0.0.22");
}

#[test]
fn servers_and_search_list_are_read_again_when_they_change() {
    let file = Temporary::new("conf-again", "nameserver 127.0.0.1\n");
    let (watch, mut now) = (watch(&file), Instant::now());
    let mut look = || {
        now += LOOK_AGAIN;
        watch.look(now)
    };
    assert!(look().is_none());

    file.write("nameserver 127.0.0.1\nsearch corp.test\n");
    let news = look().unwrap();
    assert!(news.source.is_none(), "the servers are the same");
    assert_eq!(news.search.unwrap().names("api").len(), 2);

    file.write("nameserver 127.0.0.2\n");
    let news = look().unwrap();
    assert!(news.source.is_some());
    assert_eq!(news.search.unwrap().names("api").len(), 1);
    assert!(look().is_none());
}

#[test]
fn file_that_cannot_be_used_any_more_is_reported_once() {
    let file = Temporary::new("conf-unusable", "nameserver 127.0.0.1\n");
    let (watch, mut now) = (watch(&file), Instant::now());
    let mut look = || {
        now += LOOK_AGAIN;
        watch.look(now).is_some()
    };

    let ((), warnings) = counting(|| {
        file.write("# nothing\n");
        assert!(!look());
        file.write("search corp.test\n");
        assert!(!look());
        file.remove();
        assert!(!look() && !look());
    });
    assert_eq!(warnings, 1);
    let ((), warnings) = counting(|| {
        std::fs::write(&file.0, "nameserver 127.0.0.1\n").unwrap();
        assert!(look());
        file.remove();
        assert!(!look());
    });
    assert_eq!(warnings, 1);
}

#[test]
fn file_is_read_again_after_a_failed_read_unless_it_is_missing() {
    let file = Temporary::new("conf-unread", "nameserver 127.0.0.1\n");
    let mut watched = WatchedFile::at(&file.0);
    for kind in [io::ErrorKind::PermissionDenied, io::ErrorKind::NotFound] {
        assert!(
            watched
                .accept::<()>(Err(io::Error::from(kind).into()))
                .is_none()
        );
        let is_again = kind != io::ErrorKind::NotFound;
        assert_eq!(watched.has_changed(), is_again, "{kind}");
    }
    watched.accept::<()>(Err(io::Error::from(io::ErrorKind::OutOfMemory).into()));
    assert!(watched.has_changed() && watched.has_changed());
    watched.accept(Ok(()));
    assert!(!watched.has_changed());
}

/// A directory cannot be read. The file in its place has the same marks.
#[test]
fn file_that_could_not_be_read_at_first_is_read_again() {
    let (file, now) = (Temporary::unreadable("conf-later"), Instant::now());
    let mut watch = FileWatch::new(plan(&file));
    watch.first_asking().unwrap_err();
    assert!(watch.look(now).is_none());

    file.make_readable("nameserver 127.0.0.1\n");
    let news = watch.look(now + LOOK_AGAIN).unwrap();
    assert!(news.source.is_some() && news.search.is_some());
    assert!(watch.look(now + LOOK_AGAIN * 2).is_none());
}

#[test]
fn order_of_the_hosts_file_stays_if_it_cannot_be_read() {
    let (file, now) = (Temporary::unreadable("nsswitch-later"), Instant::now());
    let mut watch = FileWatch::new(Plan {
        hosts_file: HostsFile::System,
        nsswitch: file.0.clone(),
        servers: Some(vec![Server::Plain(SERVER.parse().unwrap())]),
        ..plan(&file)
    });
    assert_eq!(watch.first_order(), HostsOrder::First);
    assert!(watch.look(now).is_none());

    file.make_readable("hosts: dns\n");
    let news = watch.look(now + LOOK_AGAIN).unwrap();
    assert_eq!(news.order, Some(HostsOrder::Never));

    file.remove();
    std::fs::create_dir(&file.0).unwrap();
    assert!(watch.look(now + LOOK_AGAIN * 2).is_none());
}

#[test]
fn files_are_looked_at_once_in_a_few_seconds() {
    let file = Temporary::new("conf-seldom", "nameserver 127.0.0.1\n");
    let (watch, now) = (watch(&file), Instant::now());
    assert!(watch.look(now).is_none());

    file.write("nameserver 127.0.0.2 # moved\n");
    assert!(
        watch
            .look(now + LOOK_AGAIN - Duration::from_nanos(1))
            .is_none()
    );
    assert!(watch.look(now + LOOK_AGAIN).is_some());
}

#[test]
fn configured_values_are_not_read_from_a_file() {
    let file = Temporary::new("conf-told", "nameserver 127.0.0.1\n");
    let plan = Plan {
        servers: Some(vec![Server::Plain(SERVER.parse().unwrap())]),
        ..plan(&file)
    };
    let (watch, now) = (FileWatch::new(plan), Instant::now());

    file.write("nameserver 127.0.0.2 # moved\n");
    assert!(watch.look(now).is_none());
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn new_server_is_queried_and_the_old_ones_results_expire() {
    use crate::testing::{DnsScript, ScriptedDns};
    let first = ScriptedDns::start().await.unwrap();
    let port = first.addr().port();
    let second = ScriptedDns::start_at(([127, 0, 0, 2], port).into());
    let second = second.await.unwrap();
    first.set("api.test", DnsScript::addresses([[10, 0, 0, 1].into()]));
    second.set("api.test", DnsScript::addresses([[10, 0, 0, 2].into()]));
    let file = Temporary::new("conf-real", "nameserver 127.0.0.1\n");
    let builder = Resolver::builder().resolv_conf(&file.0).port(port);
    let resolver = builder.hosts_file(false).build().unwrap();
    let ask = async |host: &str| {
        let answer = resolver.resolve(host).answer().await;
        answer.map(|answer| answer.addresses()[0].to_string())
    };
    assert_eq!(ask("api.test").await.unwrap(), "10.0.0.1");

    file.write("nameserver 127.0.0.2 # moved\n");
    tokio::time::pause();
    advance(LOOK_AGAIN).await;
    tokio::time::resume();
    assert_eq!(ask("api.test").await.unwrap(), "10.0.0.1", "it is known");
    let _ = ask("other.test").await;

    assert_eq!(ask("api.test").await.unwrap(), "10.0.0.2");
    assert_eq!(second.queries_for("other.test"), 2);
}

fn written(resolver: &Resolver) -> String {
    match resolver.resolve("api.test") {
        Resolution::Cached(Ok(answer)) => answer.addresses()[0].to_string(),
        other => panic!("{other:?}"),
    }
}

fn watch(file: &Temporary) -> FileWatch {
    let mut watch = FileWatch::new(plan(file));
    watch.begin(watch.plan.asking().unwrap().servers);
    watch
}

fn plan(file: &Temporary) -> Plan {
    Plan {
        servers: None,
        search: None,
        ndots: None,
        resolv_conf: file.0.clone(),
        hosts_file: HostsFile::Ignore,
        nsswitch: "/nonexistent/nsswitch.conf".into(),
        upstream: Upstream::new(Duration::from_secs(2)),
        port: None,
    }
}

const SERVER: &str = "127.0.0.1:53";
