#![doc = include_str!("../../../docs/gateway.md")]
