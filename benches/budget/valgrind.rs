//! Counts what a call costs, with valgrind.
//!
//! A program runs twice, the second time with twice the calls. The difference is the cost of the calls, without the
//! start of the process.

use std::env;
use std::process::Command;
use std::thread;

/// The counts of a process, or of one of its calls.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) instructions: f64,
    /// The misses of the first caches, for instructions and data, and of the last one.
    pub(crate) misses: f64,
    pub(crate) allocations: f64,
    pub(crate) heap_bytes: f64,
    pub(crate) clock_readings: f64,
}

impl Counts {
    /// Counts one of `calls` calls. `args` are the arguments of this program, without the number of calls.
    ///
    /// # Errors
    ///
    /// Fails with what valgrind printed, if it is not installed or cannot run this program.
    pub(crate) fn of_a_call(args: &[&str], calls: u32) -> Result<Self, String> {
        let (once, twice) = thread::scope(|scope| {
            let once = scope.spawn(|| Self::of(args, calls));
            let twice = Self::of(args, 2 * calls);
            (once.join(), twice)
        });
        let once = once.map_err(|_| String::from("a thread panicked"))?;
        let (once, twice) = (once?, twice?);
        let each = |count: fn(&Self) -> f64| (count(&twice) - count(&once)) / f64::from(calls);
        Ok(Self {
            instructions: each(|counts| counts.instructions),
            misses: each(|counts| counts.misses),
            allocations: each(|counts| counts.allocations),
            heap_bytes: each(|counts| counts.heap_bytes),
            clock_readings: each(|counts| counts.clock_readings),
        })
    }

    fn of(args: &[&str], calls: u32) -> Result<Self, String> {
        let callgrind = run(&CALLGRIND, args, calls)?;
        let heap = run(&HEAP, args, calls)?;
        Self::read(&callgrind, &heap)
            .ok_or_else(|| format!("valgrind printed other lines than expected:\n{heap}"))
    }

    /// Reads the reports of both tools.
    fn read(callgrind: &str, heap: &str) -> Option<Self> {
        // ==4711== Collected : 12345678 12 34 56 78 90 12 34 56
        let collected = line_of(callgrind, "Collected :")?;
        let events: Vec<f64> = numbers(collected).collect();
        let [instructions, _reads, _writes, misses @ ..] = &events[..] else {
            return None;
        };
        // ==4711==   total heap usage: 1,234 allocs, 1,230 frees, 123,456 bytes allocated
        let usage: Vec<f64> = numbers(line_of(heap, "total heap usage:")?).collect();
        let [allocations, _frees, heap_bytes] = &usage[..] else {
            return None;
        };
        let readings = callgrind.matches(CLOCK_READING).count();
        Some(Self {
            instructions: *instructions,
            misses: misses.iter().sum(),
            allocations: *allocations,
            heap_bytes: *heap_bytes,
            clock_readings: readings as f64,
        })
    }
}

fn run(tool: &[&str], args: &[&str], calls: u32) -> Result<String, String> {
    let program = env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new("valgrind");
    command.args(tool).arg(program).args(args);
    let output = command.arg(calls.to_string()).output();
    let output = output.map_err(|error| format!("valgrind: {error}"))?;
    let report = String::from_utf8_lossy(&output.stderr).into_owned();
    match output.status.success() {
        true => Ok(report),
        false => Err(report),
    }
}

/// Returns the rest of the line after this text.
fn line_of<'a>(report: &'a str, text: &str) -> Option<&'a str> {
    let mut lines = report.lines();
    lines.find_map(|line| Some(line.split_once(text)?.1))
}

fn numbers(line: &str) -> impl Iterator<Item = f64> {
    let words = line.split_whitespace();
    words.filter_map(|word| word.replace(',', "").parse().ok())
}

/// The caches are those of a common processor, not those of this machine. The trace has the readings of the clock:
/// below valgrind each of them is a system call.
const CALLGRIND: [&str; 7] = [
    "--tool=callgrind",
    "--callgrind-out-file=/dev/null",
    "--cache-sim=yes",
    "--I1=32768,8,64",
    "--D1=32768,8,64",
    "--LL=8388608,16,64",
    "--trace-syscalls=yes",
];
/// Memcheck replaces the allocator, so its instructions are not those of the program.
const HEAP: [&str; 3] = [
    "--tool=memcheck",
    "--leak-check=no",
    "--undef-value-errors=no",
];
const CLOCK_READING: &str = "sys_clock_gettime";
