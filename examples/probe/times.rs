//! The times of each stage over all calls.

use std::time::Duration;

use sevenhops::Timeline;
use sevenhops::hop::Stage;

use crate::summary::Summary;

#[derive(Default)]
pub(crate) struct Times {
    stages: [Vec<Duration>; Stage::ALL.len()],
    total: Vec<Duration>,
}

impl Times {
    /// Adds the stages of a call. Several stages of one kind (after a redirect) count as their sum.
    pub(crate) fn add(&mut self, timeline: &Timeline) {
        let attempts = timeline.attempts();
        for (stage, times) in Stage::ALL.into_iter().zip(&mut self.stages) {
            let timings = attempts.iter().flat_map(|attempt| attempt.stages());
            let own = timings.filter(|timing| timing.stage() == stage);
            let own: Vec<_> = own.map(|timing| timing.duration()).collect();
            if !own.is_empty() {
                times.push(own.iter().sum());
            }
        }
        self.total.push(timeline.elapsed());
    }

    /// Returns a row for each stage that took place, and one for the whole calls.
    pub(crate) fn rows(&self) -> Vec<(&'static str, Summary)> {
        let stages = Stage::ALL.into_iter().map(Stage::as_str).zip(&self.stages);
        let all = stages.chain([("total", &self.total)]);
        all.filter_map(|(name, times)| Some((name, Summary::of(times)?)))
            .collect()
    }
}
