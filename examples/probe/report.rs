//! The report after the last call.

use std::io::{self, Write};
use std::time::Duration;

use serde_json::{Value, json};

use crate::arguments::Arguments;
use crate::summary::Summary;
use crate::{Failed, Run};

/// Writes the JSON document, or the table of several calls.
pub(crate) fn write(run: &Run, arguments: &Arguments, out: &mut impl Write) -> io::Result<()> {
    if arguments.json {
        return writeln!(out, "{:#}", document(run, arguments));
    }
    if arguments.calls == 1 {
        return Ok(());
    }
    writeln!(
        out,
        "         calls        min     median        p95        max"
    )?;
    for (name, summary) in run.times.rows() {
        let Summary {
            count,
            min,
            median,
            p95,
            max,
        } = summary;
        let [min, median, p95, max] = [min, median, p95, max].map(millis);
        writeln!(
            out,
            "{name:8} {count:5} {min:>10} {median:>10} {p95:>10} {max:>10}"
        )?;
    }
    writeln!(
        out,
        "{} of {} calls failed",
        run.failures.len(),
        arguments.calls
    )
}

fn document(run: &Run, arguments: &Arguments) -> Value {
    let stages = run.times.rows().into_iter().map(|(name, summary)| {
        let row = json!({
            "calls": summary.count,
            "min_us": micros(summary.min),
            "median_us": micros(summary.median),
            "p95_us": micros(summary.p95),
            "max_us": micros(summary.max),
        });
        (name.to_owned(), row)
    });
    let failures: Vec<_> = run.failures.iter().map(failure).collect();
    json!({
        "calls": arguments.calls,
        "failed": failures.len(),
        "exit_status": run.status,
        "stages": stages.collect::<serde_json::Map<_, _>>(),
        "failures": failures,
    })
}

fn failure(failed: &Failed) -> Value {
    let Failed {
        call,
        error,
        counts,
    } = failed;
    json!({
        "call": call,
        "hop": error.hop().map(|hop| hop.as_str()),
        "kind": error.kind().to_string(),
        "effect": error.effect().to_string(),
        "status": error.status().map(|status| status.as_u16()),
        "counts": counts,
        "error": error.to_string(),
    })
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1_000.0)
}
