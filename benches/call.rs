//! Measures the cost of the stack: one call over a leaf in memory, from the request to the last byte of the response
//! body.
//!
//! It prints a table of allocations per call, then the times, for the same cases in the same order. Every line
//! includes the cost of `bare leaf`: the request's clone, the response and its body.
//!
//! The leaf responds at the first poll, or (`, waiting`) at the second one. Policies arm their timers only in the
//! second case, which is that of every call over a network. The driver polls again without a wake-up, so no line
//! includes the runtime.
//!
//! How people get it wrong: the stacks do different things. The timeouts of the other crates end at the response
//! head, ours at the last byte. The tower-resilience stack also retries and has a breaker; ours also keeps a
//! timeline. The lines are prices, not a race.

#[path = "driver/cases.rs"]
mod cases;
#[path = "driver/clock.rs"]
mod clock;
mod driver;
mod rival;
#[path = "driver/table.rs"]
mod table;

use std::time::Duration;

use criterion::Criterion;

use crate::cases::each_case;
use crate::clock::Clock;
use crate::table::Table;

fn main() {
    let mut table = Table::new();
    each_case(&mut table);

    // The allocator counts every allocation that does not opt out.
    allocation_counter::opt_out(|| {
        let mut criterion = Criterion::default()
            .warm_up_time(Duration::from_millis(300))
            .measurement_time(Duration::from_secs(2))
            .sample_size(40)
            .nresamples(20_000)
            .configure_from_args();
        time_each(&mut criterion);
        criterion.final_summary();
    });
}

fn time_each(criterion: &mut Criterion) {
    each_case(&mut Clock::new(criterion, "call"));
}
