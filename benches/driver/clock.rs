//! Measures time.

use std::fmt::Debug;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};
use http::Response;
use http_body::Body;
use tokio::runtime::Runtime;
use tower::Service;

use crate::driver::{Ask, Ruler, calls, runtime};

/// Measures time.
pub(crate) struct Clock<'a> {
    runtime: Runtime,
    group: BenchmarkGroup<'a, WallTime>,
    /// The best time of each case, in nanoseconds a call.
    pub(crate) best: Vec<(String, f64)>,
    /// A function that runs after this number of calls. Its time does not count.
    pub(crate) rest: (u64, &'a dyn Fn()),
}

impl<'a> Clock<'a> {
    pub(crate) fn new(criterion: &'a mut Criterion, group: &str) -> Self {
        Self {
            runtime: runtime(),
            group: criterion.benchmark_group(group),
            best: Vec::new(),
            rest: (u64::MAX, &|| {}),
        }
    }
}

impl Ruler for Clock<'_> {
    fn measure<S, R>(&mut self, name: &str, request: &Ask, mut service: S)
    where
        S: Service<Ask, Response = Response<R>, Error: Debug>,
        R: Body<Error: Debug>,
    {
        let mut best = f64::INFINITY;
        self.group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| {
                let took = with_rests(times, self.rest, |times| {
                    self.runtime.block_on(calls(&mut service, request, times))
                });
                best = best.min(took.as_secs_f64() * 1e9 / times as f64);
                took
            });
        });
        if best.is_finite() {
            self.best.push((name.into(), best));
        }
    }
}

/// Returns how long the calls take, without the rests.
pub(crate) fn with_rests(
    times: u64,
    (after, rest): (u64, &dyn Fn()),
    mut run: impl FnMut(u64) -> Duration,
) -> Duration {
    let (mut left, mut took) = (times, Duration::ZERO);
    while left > 0 {
        let now = left.min(after);
        took += run(now);
        rest();
        left -= now;
    }
    took
}
