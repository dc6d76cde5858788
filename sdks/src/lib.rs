#![doc = include_str!("../../docs/sdks.md")]
