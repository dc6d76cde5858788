//! sevenhops

mod call;
#[cfg(feature = "client")]
pub mod client;
mod clock;
#[cfg(feature = "client")]
pub mod dns;
mod error;
pub mod guard;
pub mod hop;
pub mod limit;
mod stack;
mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "client")]
pub mod transport;

pub use self::call::Options;
#[cfg(feature = "client")]
pub use self::client::{Body, Client, ClientBuilder, RequestBuilder, Response};
pub use self::error::{Error, Guard, SettingError};
pub use self::guard::attempt::AttemptLayer;
pub use self::guard::call::CallLayer;
pub use self::hop::{Effect, Fault, Hop, Kind, Timeline};
pub use self::stack::StandardLayer;
#[cfg(feature = "client")]
pub use self::transport::{Transport, TransportBuilder};
