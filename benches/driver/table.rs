//! Counts allocations. In a benchmark that includes this file, every allocation is counted, also while time is
//! measured, unless the code opts out.

use std::fmt::Debug;

use http::Response;
use http_body::Body;
use tokio::runtime::Runtime;
use tower::Service;

use crate::driver::{Ask, Ruler, calls, runtime};

/// Counts allocations.
pub(crate) struct Table {
    runtime: Runtime,
}

impl Table {
    pub(crate) fn new() -> Self {
        println!("{:<34}{:>12}{:>12}", "per call", "allocations", "bytes");
        Self { runtime: runtime() }
    }
}

impl Ruler for Table {
    fn measure<S, R>(&mut self, name: &str, request: &Ask, mut service: S)
    where
        S: Service<Ask, Response = Response<R>, Error: Debug>,
        R: Body<Error: Debug>,
    {
        // A first round makes the allocations that all calls share, so that they are not counted for each call.
        self.runtime.block_on(calls(&mut service, request, COUNTED));
        let counted = allocation_counter::measure(|| {
            self.runtime.block_on(calls(&mut service, request, COUNTED));
        });
        let per_call = |total: u64| total as f64 / COUNTED as f64;
        let allocations = per_call(counted.count_total);
        let bytes = per_call(counted.bytes_total);
        println!("{name:<34}{allocations:>12.2}{bytes:>12.0}");
    }
}

/// Enough calls to show a rare allocation as a fraction.
const COUNTED: u64 = 1_000;
