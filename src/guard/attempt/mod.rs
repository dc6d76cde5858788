//! One try: its limit, the limits of its hops, and the tracker that names where it fails.

mod layer;

pub use self::layer::{AttemptLayer, AttemptService};
