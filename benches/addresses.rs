//! Measures the choice among the addresses of a destination: 1, 8 and 64 addresses, each with requests in flight.
//!
//! The balancer is compiled into this benchmark by its path, because the crate does not export the choice of addresses.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use criterion::Criterion;
use tokio::time::Instant;

#[path = "../src/affinity.rs"]
#[expect(dead_code, reason = "the library uses the rest")]
#[cfg_attr(test, expect(unused_imports, reason = "a benchmark has no unit tests"))]
mod affinity;
#[path = "../src/transport/balance/mod.rs"]
#[expect(dead_code, reason = "the library uses the rest")]
#[cfg_attr(test, expect(unused_imports, reason = "a benchmark has no unit tests"))]
mod book;
#[path = "../src/transport/sorted.rs"]
#[expect(dead_code, reason = "the library uses the rest")]
#[cfg_attr(test, expect(unused_imports, reason = "a benchmark has no unit tests"))]
mod sorted;

use self::book::{AddressOutcome, Balancer, ResolvedAddresses};

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .sample_size(40)
        .configure_from_args();
    for addresses in [1, 8, 64] {
        choose(&mut criterion, addresses);
    }
    criterion.final_summary();
}

/// Measures one request: the DNS result is compared with the known one, an address is chosen, and it responds.
fn choose(criterion: &mut Criterion, addresses: u8) {
    let known: Vec<IpAddr> = (0..addresses)
        .map(|last| Ipv4Addr::new(127, 0, 0, last).into())
        .collect();
    let given = ResolvedAddresses {
        addresses: &known,
        generation: 1,
        ttl: Duration::from_secs(60),
        speaks_for: (true, true),
    };
    let now = Instant::now();
    let mut book = Balancer::default();
    let id = format!("addresses/choose among {addresses}");
    criterion.bench_function(&id, |bencher| {
        bencher.iter(|| {
            let gone = book.update(black_box(&given), now);
            let first = book.order(&known, 8, now).first().copied();
            let address = first.unwrap_or(known[0]);
            if let Some(entry) = book.begin(address, now) {
                book.end(
                    entry,
                    AddressOutcome::Answered(Duration::from_millis(5)),
                    now,
                );
            }
            gone.len()
        });
    });
}
