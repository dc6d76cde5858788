//! sevenhops

mod call;
mod clock;
#[cfg(feature = "client")]
pub mod dns;
mod error;
pub mod guard;
pub mod hop;
pub mod limit;
mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "client")]
pub mod transport;

pub use self::call::Options;
pub use self::error::{Error, Guard, SettingError};
pub use self::guard::attempt::AttemptLayer;
pub use self::guard::call::CallLayer;
pub use self::hop::{Effect, Fault, Hop, Kind, Timeline};
#[cfg(feature = "client")]
pub use self::transport::{Transport, TransportBuilder};
