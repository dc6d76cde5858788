//! Hedges as they are written in a file: a flat table.

use std::time::Duration;

use super::HedgeConfig;
use super::config::Trigger;

#[derive(serde::Deserialize, serde::Serialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
pub(super) struct Written {
    #[serde(skip_serializing_if = "Option::is_none")]
    enabled: Option<bool>,
    #[serde(with = "crate::serde_forms::optional_duration")]
    #[serde(skip_serializing_if = "Option::is_none")]
    delay: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quantile: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_hedges: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    same_address: Option<bool>,
}

impl TryFrom<Written> for HedgeConfig {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let trigger = match (written.delay, written.quantile) {
            (None, None) => None,
            (Some(delay), None) => Some(Trigger::Delay(delay)),
            (None, Some(quantile)) => Some(Trigger::Quantile(quantile)),
            (Some(_), Some(_)) => return Err("only one of delay and quantile"),
        };
        Ok(Self {
            enabled: written.enabled,
            trigger,
            max_hedges: written.max_hedges,
            same_address: written.same_address,
        })
    }
}

impl From<HedgeConfig> for Written {
    fn from(config: HedgeConfig) -> Self {
        let (delay, quantile) = match config.trigger {
            None => (None, None),
            Some(Trigger::Delay(delay)) => (Some(delay), None),
            Some(Trigger::Quantile(quantile)) => (None, Some(quantile)),
        };
        Self {
            enabled: config.enabled,
            delay,
            quantile,
            max_hedges: config.max_hedges,
            same_address: config.same_address,
        }
    }
}
