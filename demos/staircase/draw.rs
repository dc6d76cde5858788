//! Draws the staircase: a line for each call, one scale for all visits.

use std::time::Duration;

use sevenhops::hop::Stage;

use crate::run::{Run, SET_UP, Step};

pub(crate) fn print(title: &str, run: &Run, scale: Duration) {
    println!("{title}: {}", millis(run.took));
    for step in &run.steps {
        let [dns, connect, tls] = SET_UP.map(|stage| cost(step, stage));
        let wait = cost(step, Stage::Wait);
        let end = if step.is_answered() { "" } else { " ✗" };
        let (name, bar) = (step.name, bar(step, scale));
        println!("  {name:<9}{bar}{dns:>6}{connect:>9}{tls:>7}{wait:>7}{end}");
    }
    println!();
}

pub(crate) fn print_legend() {
    println!("░ name, connection, handshake   █ request and answer   (times in ms)\n");
    let (dns, connect, tls, wait) = ("dns", "connect", "tls", "wait");
    println!(
        "{:<11}{:<WIDTH$}{dns:>6}{connect:>9}{tls:>7}{wait:>7}",
        "", ""
    );
}

fn bar(step: &Step, scale: Duration) -> String {
    let mut cells = [' '; WIDTH];
    let column = |at: Duration| (at.as_secs_f64() / scale.as_secs_f64() * WIDTH as f64) as usize;
    for stage in Stage::ALL {
        let shade = if SET_UP.contains(&stage) {
            '░'
        } else {
            '█'
        };
        for (start, took) in step.stages(stage) {
            let from = column(start).min(WIDTH - 1);
            let to = column(start + took).min(WIDTH - 1);
            cells[from..=to].fill(shade);
        }
    }
    cells.iter().collect()
}

/// Nothing stands out less than a dot.
fn cost(step: &Step, stage: Stage) -> String {
    match step.stages(stage).count() {
        0 => String::from("."),
        _ => format!("{:.1}", step.spent(stage).as_secs_f64() * 1e3),
    }
}

pub(crate) fn millis(duration: Duration) -> String {
    format!("{:.0} ms", duration.as_secs_f64() * 1e3)
}

const WIDTH: usize = 40;
