//! The file form of configs: durations as `1m 30s`, names and URLs as text.

use std::fmt::Display;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A duration: `250ms`, `10s`, `1m 30s`.
pub(crate) mod duration {
    use std::time::Duration;

    use super::{Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        duration: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*duration))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        super::from_text(deserializer, humantime::parse_duration)
    }
}

/// An optional duration.
pub(crate) mod optional_duration {
    use std::time::Duration;

    use super::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize, Serialize)]
    struct Written(#[serde(with = "super::duration")] Duration);

    #[expect(clippy::ref_option, reason = "serde's signature")]
    pub(crate) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        duration.map(Written).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let written = Option::<Written>::deserialize(deserializer)?;
        Ok(written.map(|Written(duration)| duration))
    }
}

/// Values with a text form, such as a header name or a destination.
pub(crate) mod text {
    use super::{Deserializer, Display, FromStr, Serializer};

    pub(crate) fn serialize<T: Display, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        super::from_text(deserializer, str::parse)
    }
}

/// An optional value with a text form.
pub(crate) mod optional_text {
    use super::{Deserialize, Deserializer, Display, FromStr, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "serde's signature")]
    pub(crate) fn serialize<T: Display, S: Serializer>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value
            .as_ref()
            .map(ToString::to_string)
            .serialize(serializer)
    }

    pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| super::parsed(&text, str::parse))
            .transpose()
    }
}

/// An optional list of values with a text form.
pub(crate) mod optional_texts {
    use super::{Deserialize, Deserializer, Display, FromStr, Serializer};

    #[expect(clippy::ref_option, reason = "serde's signature")]
    pub(crate) fn serialize<T: Display, S: Serializer>(
        values: &Option<Vec<T>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let values = values.as_deref().unwrap_or_default();
        serializer.collect_seq(values.iter().map(ToString::to_string))
    }

    pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        let Some(texts) = Option::<Vec<String>>::deserialize(deserializer)? else {
            return Ok(None);
        };
        let parsed = texts.iter().map(|text| super::parsed(text, str::parse));
        parsed.collect::<Result<_, _>>().map(Some)
    }
}

/// An optional list of status codes, as numbers.
pub(crate) mod optional_statuses {
    use http::StatusCode;

    use super::{Deserialize, Deserializer, Serializer};
    use serde::de::Error as _;

    #[expect(clippy::ref_option, reason = "serde's signature")]
    pub(crate) fn serialize<S: Serializer>(
        statuses: &Option<Vec<StatusCode>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let statuses = statuses.as_deref().unwrap_or_default();
        serializer.collect_seq(statuses.iter().map(StatusCode::as_u16))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Vec<StatusCode>>, D::Error> {
        let Some(codes) = Option::<Vec<u16>>::deserialize(deserializer)? else {
            return Ok(None);
        };
        let statuses = codes.into_iter().map(|code| {
            let status = StatusCode::from_u16(code);
            status.map_err(|_| D::Error::custom(format_args!("{code} is not a status code")))
        });
        statuses.collect::<Result<_, _>>().map(Some)
    }
}

/// Reads a config. An error has the path of the field: `retry.backoff.base`, `destinations."*.test".retry`.
pub(crate) fn with_path<'de, T, D>(
    deserializer: D,
    read: impl FnOnce(Tracked<'_, '_, D>) -> Result<T, D::Error>,
) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
{
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(deserializer, &mut track);
    read(tracked).map_err(|error| match shown(&track.path()) {
        path if path.is_empty() => error,
        path => serde::de::Error::custom(format_args!("{path}: {error}")),
    })
}

type Tracked<'a, 'b, D> = serde_path_to_error::Deserializer<'a, 'b, D>;

/// Returns the path of a field, with quotes around keys that contain dots.
fn shown(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut shown = String::new();
    for segment in path.iter() {
        let key = match segment {
            Segment::Seq { index } => index.to_string(),
            Segment::Map { key } if key.contains(['.', '/', '*', ':', '@']) => {
                format!("{:?}", crate::destination::shown(key))
            }
            Segment::Map { key } => key.clone(),
            Segment::Enum { variant } => variant.clone(),
            Segment::Unknown => continue,
        };
        if !shown.is_empty() {
            shown.push('.');
        }
        shown.push_str(&key);
    }
    shown
}

fn from_text<'de, T, D, E>(
    deserializer: D,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    E: Display,
{
    let text = String::deserialize(deserializer)?;
    parsed(&text, parse)
}

fn parsed<T, E: Display, R: serde::de::Error>(
    text: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, R> {
    parse(text).map_err(|error| R::custom(format_args!("{text:?}: {error}")))
}
