//! A window as it stands in a file: `{"time": "10s"}` or `{"count": 100}`. Not beside it: a model
//! checker takes that file in by its path, and knows no serde.

use std::time::Duration;

use super::Window;

#[derive(serde::Deserialize, serde::Serialize)]
#[serde(remote = "Window", rename_all = "snake_case")]
enum Written {
    Time(#[serde(with = "crate::file::duration")] Duration),
    Count(u32),
}

impl<'de> serde::Deserialize<'de> for Window {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Written::deserialize(deserializer)
    }
}

impl serde::Serialize for Window {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Written::serialize(self, serializer)
    }
}
