//! A window as it is written in a file, `{"time": "10s"}` or `{"count": 100}`, and a recovery, `{"successes": 1}`. It
//! is not in `rules.rs`, because a model checker includes that file by its path, and does not know serde.

use std::time::Duration;

use super::{FailureWindow, Recovery};

#[derive(serde::Deserialize, serde::Serialize)]
#[serde(remote = "FailureWindow", rename_all = "snake_case")]
enum WindowForm {
    Time(#[serde(with = "crate::serde_forms::duration")] Duration),
    Count(u32),
}

impl<'de> serde::Deserialize<'de> for FailureWindow {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        WindowForm::deserialize(deserializer)
    }
}

impl serde::Serialize for FailureWindow {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        WindowForm::serialize(self, serializer)
    }
}

#[derive(serde::Deserialize, serde::Serialize)]
#[serde(remote = "Recovery", rename_all = "snake_case", deny_unknown_fields)]
enum RecoveryForm {
    Successes(u32),
    Ratio {
        probes: u32,
        failure_ratio: f64,
    },
    Ramp {
        #[serde(with = "crate::serde_forms::duration")]
        step: Duration,
    },
}

impl<'de> serde::Deserialize<'de> for Recovery {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        RecoveryForm::deserialize(deserializer)
    }
}

impl serde::Serialize for Recovery {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RecoveryForm::serialize(self, serializer)
    }
}

/// The serde form of a list of open times.
pub(super) mod durations {
    use std::sync::Arc;
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize, Serialize)]
    struct One(#[serde(with = "crate::serde_forms::duration")] Duration);

    type Times = Option<Arc<[Duration]>>;

    pub(in super::super) fn serialize<S: Serializer>(
        times: &Times,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let times = times.as_ref();
        let times = times.map(|times| times.iter().copied().map(One).collect::<Vec<_>>());
        times.serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Times, D::Error> {
        let times = Option::<Vec<One>>::deserialize(deserializer)?;
        Ok(times.map(|times| times.into_iter().map(|One(time)| time).collect()))
    }
}
