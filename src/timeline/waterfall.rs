//! Draws a timeline: a row for each stage, with a bar, a time, and a mark at the stage that failed.

use std::ffi::OsString;
use std::fmt;
use std::io::IsTerminal;
use std::time::Duration;

use super::Timeline;
use super::attempt::Attempt;
use super::stage::{StageOutcome, StageTiming};
use crate::hop::{Outcome, ServerReport, Stage, TimelineEvent, short};

/// A drawing of a timeline, at most 80 columns wide.
///
/// # Example
///
/// ```no_run
/// # fn f(timeline: sevenhops::Timeline) {
/// println!("{}", timeline.waterfall().for_terminal(&std::io::stdout()));
/// # }
/// ```
#[derive(Debug)]
pub struct Waterfall<'t> {
    timeline: &'t Timeline,
    colored: bool,
}

impl<'t> Waterfall<'t> {
    pub(super) fn new(timeline: &'t Timeline) -> Self {
        Self {
            timeline,
            colored: false,
        }
    }

    /// Sets whether to draw in color. It is off by default, so that logs and files stay plain.
    #[must_use]
    pub fn colored(mut self, yes: bool) -> Self {
        self.colored = yes;
        self
    }

    /// Draws in color if `out` is a terminal, `TERM` is not `dumb`, and `NO_COLOR` is unset or empty
    /// (<https://no-color.org>).
    #[must_use]
    pub fn for_terminal(self, out: &impl IsTerminal) -> Self {
        let colored = shows_color(out.is_terminal(), |name| std::env::var_os(name));
        self.colored(colored)
    }

    fn paint(&self, f: &mut fmt::Formatter<'_>, color: &str, text: &str) -> fmt::Result {
        if self.colored {
            // words:allow spelling: the name of a variable
            write!(f, "\x1b[{color}m{text}\x1b[0m")
        } else {
            f.write_str(text)
        }
    }

    /// Draws the attempts of a timeline and the events between them. The calls inside an attempt are drawn at their own
    /// start times.
    fn journey(
        &self,
        f: &mut fmt::Formatter<'_>,
        timeline: &Timeline,
        total: Duration,
    ) -> fmt::Result {
        let inside = !std::ptr::eq(timeline, self.timeline);
        let notes = timeline.events();
        let mut notes = notes.iter().peekable();
        for mut attempt in timeline.attempts() {
            while let Some(note) = notes.next_if(|note| (note.attempts as usize) < attempt.number) {
                self.note(f, note)?;
            }
            let mut head = format!("  attempt {}", attempt.number);
            if inside {
                head = format!("    {}", timeline.asked());
                if timeline.attempt_count() > 1 {
                    head.push_str(&format!(" · attempt {}", attempt.number));
                }
                attempt.delay(timeline.since(self.timeline));
            }
            self.attempt(f, (head, &attempt), total)?;
        }
        notes.try_for_each(|note| self.note(f, note))
    }

    fn attempt(
        &self,
        f: &mut fmt::Formatter<'_>,
        (mut head, attempt): (String, &Attempt),
        total: Duration,
    ) -> fmt::Result {
        f.write_str("\n")?;
        if let Some(url) = &attempt.url {
            head.push_str(&format!(" · {url}"));
        }
        if let Some(via) = &attempt.via {
            head.push_str(&format!(" · via {via}"));
        }
        if let Some(path) = &attempt.unix_socket {
            head.push_str(&format!(" · unix:{}", path.display()));
        }
        if let Some(peer) = attempt.peer {
            head.push_str(&format!(" · {peer}"));
        }
        if attempt.reused {
            head.push_str(" · reused connection");
            if let Some(age) = attempt.connection_age {
                head.push_str(&format!(", {} old", short(age)));
            }
        }
        if attempt.affinity_moved {
            head.push_str(" · affinity moved, reads may go back in time");
        }
        if attempt.queued {
            head.push_str(" · queued");
        }
        if let Some(version) = attempt.version {
            head.push_str(&format!(" · {version:?}"));
        }
        if let Some(tls) = attempt.tls {
            head.push_str(&format!(" · TLS {tls}"));
            if attempt.tls_resumed == Some(true) {
                head.push_str(", resumed");
            }
        }
        if attempt.dns_stale {
            head.push_str(" · dns stale");
        } else if let Some((_, true)) = attempt.dns {
            head.push_str(" · dns cached");
        }
        if let Some(report) = &attempt.server_report {
            head.push_str(&response_path(report));
        }
        if attempt.is_hedge {
            head.push_str(" · hedge");
        }
        head.push_str(&format!(" · {}", ending(attempt)));
        f.write_str(&wrap(&head))?;
        // If calls were made inside the wait, their rows replace the row of the wait.
        let is_shown = |row: &&StageTiming| attempt.calls.is_empty() || row.stage != Stage::Wait;
        for row in attempt.stages.iter().filter(is_shown) {
            f.write_str("\n")?;
            self.row(f, row, total)?;
            let mut left = MARK;
            if let Some(service) = attempt.service_time().filter(|_| row.stage == Stage::Wait) {
                let service = format!(" (service {})", short(service));
                left = left.saturating_sub(service.chars().count()).max(1);
                f.write_str(&service)?;
            }
            self.mark(f, row, left)?;
        }
        let mut calls = attempt.calls.iter();
        calls.try_for_each(|call| self.journey(f, call, total))
    }

    fn note(&self, f: &mut fmt::Formatter<'_>, note: &TimelineEvent) -> fmt::Result {
        f.write_str("\n")?;
        self.paint(f, GREY, &clip(&format!("  {}", note.kind), WIDTH))
    }

    fn row(&self, f: &mut fmt::Formatter<'_>, row: &StageTiming, total: Duration) -> fmt::Result {
        let (before, bar) = place(row, total);
        let label = format!("    {:<8}", row.stage.as_str());
        f.write_str(&label)?;
        f.write_str(&" ".repeat(before))?;
        self.paint(f, color(row.end), &"█".repeat(bar))?;
        f.write_str(&" ".repeat(BAR - before - bar))?;
        write!(f, " {:>9}", short(row.duration))
    }

    fn mark(&self, f: &mut fmt::Formatter<'_>, row: &StageTiming, left: usize) -> fmt::Result {
        let mark = match row.end {
            StageOutcome::Failed(kind) => format!("✗ {kind}"),
            StageOutcome::Completed | StageOutcome::Abandoned if row.queued => "queued".to_owned(),
            StageOutcome::Abandoned => "abandoned".to_owned(),
            StageOutcome::InProgress => "…".to_owned(),
            StageOutcome::Completed => return Ok(()),
        };
        f.write_str(" ")?;
        self.paint(f, color(row.end), &clip(&mark, left))
    }
}

impl fmt::Display for Waterfall<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let timeline = self.timeline;
        let total = timeline.elapsed();
        let outcome = timeline.outcome().unwrap_or(Outcome::Pending);
        let head = timeline.asked().to_string();
        writeln!(f, "{}", clip(&head, WIDTH))?;
        let end = format!("  {} after {}", describe(&outcome), short(total));
        f.write_str(&clip(&end, WIDTH))?;
        self.journey(f, timeline, total)?;
        match timeline.no_retry_reason() {
            Some(reason) => write!(f, "\n{}", clip(&format!("  not retried: {reason}"), WIDTH)),
            None => Ok(()),
        }
    }
}

/// Returns how an attempt ended.
pub(super) fn ending(attempt: &Attempt) -> String {
    match attempt.is_lost {
        true => "cancelled, another attempt was faster".to_owned(),
        false => describe(&attempt.outcome),
    }
}

pub(super) fn describe(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Pending => "under way".to_owned(),
        Outcome::Cancelled => "cancelled by the caller".to_owned(),
        Outcome::Responded(status) => format!("status {}", status.as_u16()),
        Outcome::Done => "done".to_owned(),
        Outcome::Failed {
            hop,
            kind,
            effect,
            status,
            ..
        } => {
            let verb = match hop {
                Some(hop) => format!("failed at {hop}"),
                None if kind.is_refusal() => "rejected".to_owned(),
                None => "failed".to_owned(),
            };
            let status = status.map_or_else(String::new, |s| format!("status {}, ", s.as_u16()));
            format!("{status}{verb}: {kind}, effect {effect}")
        }
    }
}

/// Returns the facts in the response head about its path, each after a separator.
fn response_path(report: &ServerReport) -> String {
    let mut facts = String::new();
    if !report.via.is_empty() {
        facts.push_str(&format!("{BETWEEN}passed on by {}", report.via.join(", ")));
    }
    if let Some(age) = report.age.filter(|_| report.is_cached()) {
        facts.push_str(&format!("{BETWEEN}out of a cache, {} old", short(age)));
    }
    for proxy in &report.proxies {
        if let Some(error) = &proxy.error {
            facts.push_str(&format!("{BETWEEN}{} says {error}", proxy.name));
        }
    }
    if let Some(wait) = report.retry_after {
        facts.push_str(&format!("{BETWEEN}retry after {}", short(wait)));
    }
    facts
}

const fn color(end: StageOutcome) -> &'static str {
    match end {
        StageOutcome::Failed(_) => RED,
        StageOutcome::Completed => GREEN,
        StageOutcome::Abandoned | StageOutcome::InProgress => GREY,
    }
}

/// Returns whether to draw in color, by the output and the environment.
fn shows_color(terminal: bool, variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let unwanted = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
    terminal && !unwanted && variable("TERM").is_none_or(|value| value != "dumb")
}

/// Returns the start and the length of a row's bar; every row gets at least one mark.
fn place(row: &StageTiming, total: Duration) -> (usize, usize) {
    let share = |part: Duration| {
        if total.is_zero() {
            return 0;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "a share of the bar's width, rounded"
        )]
        let columns = (part.div_duration_f64(total) * BAR as f64).round() as usize;
        columns.min(BAR)
    };
    let before = share(row.start).min(BAR - 1);
    (before, share(row.duration).clamp(1, BAR - before))
}

/// Returns the facts in lines of at most 80 columns. A longer single fact is cut at its end.
fn wrap(facts: &str) -> String {
    let mut lines = String::new();
    let mut line = String::new();
    for fact in facts.split(BETWEEN) {
        let longer = format!("{line}{BETWEEN}{fact}");
        if line.is_empty() {
            line = fact.to_owned();
        } else if longer.chars().count() <= WIDTH {
            line = longer;
        } else {
            lines.push_str(&clip(&line, WIDTH));
            lines.push('\n');
            line = format!("    {fact}");
        }
    }
    lines + &clip(&line, WIDTH)
}

/// Cuts a text to at most `width` columns.
fn clip(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width - 1).chain(['…']).collect()
}

const WIDTH: usize = 80;
const BETWEEN: &str = " · ";
const BAR: usize = 34;
/// The columns left in a row after label, bar, time and a space.
const MARK: usize = WIDTH - 12 - BAR - 10 - 1;
const RED: &str = "31";
const GREEN: &str = "32";
const GREY: &str = "90";

#[cfg(test)]
mod tests {
    use super::*;

    fn row(start: u64, duration: u64) -> StageTiming {
        StageTiming {
            stage: Stage::Wait,
            address: None,
            queued: false,
            start: Duration::from_millis(start),
            duration: Duration::from_millis(duration),
            end: StageOutcome::Completed,
        }
    }

    #[test]
    fn color_is_for_terminals_that_show_it_and_users_who_want_it() {
        for (terminal, no_color, term, expected) in [
            (true, None, Some("xterm-256color"), true),
            (true, None, None, true),
            (true, Some(""), None, true),
            (true, Some("1"), None, false),
            (true, Some("0"), Some("xterm"), false),
            (true, None, Some("dumb"), false),
            (false, None, Some("xterm"), false),
            (false, Some(""), None, false),
        ] {
            let variable = |name: &str| match name {
                "NO_COLOR" => no_color.map(OsString::from),
                "TERM" => term.map(OsString::from),
                _ => None,
            };
            let shown = shows_color(terminal, variable);
            assert_eq!(shown, expected, "{terminal} {no_color:?} {term:?}");
        }
    }

    #[test]
    fn bar_never_leaves_its_column() {
        let total = Duration::from_millis(100);
        for start in 0..=100 {
            for duration in 0..=100 {
                let (before, bar) = place(&row(start, duration), total);
                assert!(bar >= 1 && before + bar <= BAR, "{start} {duration}");
            }
        }
        assert_eq!(place(&row(0, 100), total), (0, BAR));
        assert_eq!(place(&row(0, 0), Duration::ZERO), (0, 1));
    }

    #[test]
    fn facts_that_do_not_fit_go_on_in_the_next_line() {
        let fact = "x".repeat(40);
        assert_eq!(wrap(&format!("  a · {fact}")), format!("  a · {fact}"));
        let two = wrap(&format!("  a · {fact} · {fact} · b"));
        assert_eq!(two, format!("  a · {fact}\n    {fact} · b"));
        let long = wrap(&format!("  a · {}", "y".repeat(100)));
        assert!(long.lines().all(|line| line.chars().count() <= WIDTH));
    }

    #[test]
    fn long_lines_lose_their_tail() {
        assert_eq!(clip("abcd", 4), "abcd");
        assert_eq!(clip("abcde", 4), "abc…");
    }
}
