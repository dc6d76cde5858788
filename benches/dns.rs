//! Measures a lookup that the cache answers.
//!
//! In `one name` the cache knows a single name. In `10,000 names` the names are looked up in turn, so most of them
//! are in no cache of the processor. In `beside a reader` another thread looks up another name all the time. In
//! `beside a writer` the resolver receives answers for other names meanwhile.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use criterion::Criterion;
use sevenhops::dns::{Resolution, Resolve, Resolver};
use sevenhops::testing::{DnsScript, ScriptedDns};
use tokio::runtime::Runtime;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .sample_size(40)
        .configure_from_args();
    let runtime = Runtime::new().expect("a runtime");
    let dns = runtime
        .block_on(ScriptedDns::start())
        .expect("a port of 127.0.0.1 is free");
    one_name(&mut criterion, &runtime, &dns);
    many_names(&mut criterion, &runtime, &dns);
    beside_a_reader(&mut criterion, &runtime, &dns);
    beside_a_writer(&mut criterion, &runtime, &dns);
    criterion.final_summary();
}

fn one_name(criterion: &mut Criterion, runtime: &Runtime, dns: &ScriptedDns) {
    let (resolver, names) = known(runtime, dns, 1);
    criterion.bench_function("dns/hit, one name", |bencher| {
        bencher.iter(|| hit(&resolver, &names[0]));
    });
}

fn many_names(criterion: &mut Criterion, runtime: &Runtime, dns: &ScriptedDns) {
    let (resolver, names) = known(runtime, dns, 10_000);
    let mut next = names.iter().cycle();
    criterion.bench_function("dns/hit, 10,000 names", |bencher| {
        bencher.iter(|| hit(&resolver, next.next().expect("a cycle has no end")));
    });
}

fn beside_a_reader(criterion: &mut Criterion, runtime: &Runtime, dns: &ScriptedDns) {
    let (resolver, names) = known(runtime, dns, 2);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _inside = runtime.enter();
            while !done.load(Ordering::Relaxed) {
                hit(&resolver, &names[1]);
            }
        });
        criterion.bench_function("dns/hit, beside a reader", |bencher| {
            bencher.iter(|| hit(&resolver, &names[0]));
        });
        done.store(true, Ordering::Relaxed);
    });
}

fn beside_a_writer(criterion: &mut Criterion, runtime: &Runtime, dns: &ScriptedDns) {
    let (resolver, names) = known(runtime, dns, 1);
    let done = Arc::new(AtomicBool::new(false));
    let writer = runtime.spawn({
        let (resolver, done) = (resolver.clone(), Arc::clone(&done));
        async move {
            let mut number = 0_u64;
            while !done.load(Ordering::Relaxed) {
                let host = format!("{number}.missing.test");
                let _ = resolver.resolve(&host).answer().await;
                number += 1;
            }
        }
    });
    criterion.bench_function("dns/hit, beside a writer", |bencher| {
        bencher.iter(|| hit(&resolver, &names[0]));
    });
    done.store(true, Ordering::Relaxed);
    let _ = runtime.block_on(writer);
}

/// Returns a resolver that knows this number of names, each with two addresses.
fn known(runtime: &Runtime, dns: &ScriptedDns, names: usize) -> (Resolver, Vec<String>) {
    let builder = dns.resolver_builder().capacity(names.max(4_096));
    let resolver = builder.build().expect("the settings do not contradict");
    let names: Vec<_> = (0..names).map(|n| format!("api-{n}.test")).collect();
    for name in &names {
        let addresses = [[127, 0, 0, 1], [127, 0, 0, 2]].map(IpAddr::from);
        dns.set(
            name,
            DnsScript::addresses(addresses).ttl(3_600).soa(3_600, 3_600),
        );
    }
    runtime.block_on(async {
        for some in names.chunks(64) {
            let asking: Vec<_> = some.iter().map(|name| resolver.resolve(name)).collect();
            for asked in asking {
                asked.answer().await.expect("the server says so");
            }
        }
    });
    (resolver, names)
}

fn hit(resolver: &Resolver, name: &str) -> usize {
    match resolver.resolve(name) {
        Resolution::Cached(Ok(answer)) => answer.addresses().len(),
        other => panic!("{name}: {other:?}"),
    }
}
