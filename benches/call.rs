//! What the stack itself costs: one call over a leaf in memory, from the request to the last byte
//! of the response body.
//!
//! First a table of allocations per call, then the time, for the same cases in the same order.
//! `bare leaf` is what every other line contains: the request's clone, the answer, its body.
//!
//! The leaf answers at once, or (`, waiting`) at the second poll: only there do policies need their
//! alarms, and every call over a network is one of those. The driver polls again without being
//! woken, so no line contains the runtime.
//!
//! How people get it wrong: the stacks do different things. The other crates' timeouts end at the
//! response head, ours at the last byte; the tower-resilience stack also retries and breaks
//! circuits, ours also keeps a timeline. The lines are prices, not a race.

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

    // The allocator counts everything it is not told to leave out.
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
