//! The events of zone 3, and their times.

use std::time::Duration;

use sevenhops::testing::ScriptedDns;
use tokio::time::{Instant, interval_at};

use crate::Result;
use crate::world::{Second, World};
use crate::zone::State;

/// A stretch of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scene {
    Well,
    Slow,
    Healed,
    Failing,
    HealedAgain,
}

impl Scene {
    const ALL: [Self; 5] = [
        Self::Well,
        Self::Slow,
        Self::Healed,
        Self::Failing,
        Self::HealedAgain,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Well => "all is well",
            Self::Slow => "zone 3 is three times slower",
            Self::Healed => "zone 3 is well again",
            Self::Failing => "zone 3 fails a third of its requests",
            Self::HealedAgain => "zone 3 is well for good",
        }
    }

    fn state(self) -> State {
        match self {
            Self::Well | Self::Healed | Self::HealedAgain => State::Well,
            Self::Slow => State::Slow,
            Self::Failing => State::Failing,
        }
    }

    /// Returns whether the scene is over after this number of its seconds.
    fn is_over(self, rows: &[Row]) -> bool {
        match self {
            Self::Well => rows.len() >= 3,
            Self::Slow | Self::Failing => rows.len() >= BAD_FOR,
            Self::Healed | Self::HealedAgain => {
                let last = rows.len().saturating_sub(BACK_FOR);
                rows.len() >= MOST_HEALING + BACK_FOR
                    || back(rows).is_some_and(|first| first <= last)
            }
        }
    }
}

/// One second of both clients.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) second: usize,
    pub(crate) scene: Scene,
    pub(crate) ours: Second,
    pub(crate) turns: Second,
}

/// Plays all scenes, second by second.
pub(crate) async fn play() -> Result<Vec<Row>> {
    let dns = ScriptedDns::start().await?;
    let (ours, turns) = (World::ours(&dns).await?, World::turns().await?);
    let second = Duration::from_secs(1);
    let mut seconds = interval_at(Instant::now() + second, second);
    let mut rows = Vec::new();
    for scene in Scene::ALL {
        ours.turn(scene.state());
        turns.turn(scene.state());
        let first = rows.len();
        while !scene.is_over(&rows[first..]) {
            seconds.tick().await;
            rows.push(Row {
                second: rows.len(),
                scene,
                ours: ours.second(),
                turns: turns.second(),
            });
        }
    }
    Ok(rows)
}

/// Returns the first second in which our client's traffic is back at zone 3 and stays there.
pub(crate) fn back(rows: &[Row]) -> Option<usize> {
    let mut windows = rows.windows(BACK_FOR);
    windows.position(|rows| rows.iter().all(|row| row.ours.share(2) >= BACK))
}

/// How long it is slow, and how long it fails: five seconds to notice and five to measure.
const BAD_FOR: usize = 10;
/// A fifth of the traffic; its full share is a third. So much is not luck any more.
pub(crate) const BACK: f64 = 0.2;
/// This number of seconds in a row, because one may be luck.
const BACK_FOR: usize = 2;
/// In seconds.
pub(crate) const MOST_HEALING: usize = 60;
