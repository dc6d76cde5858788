//! The policies of a call around any async work: an SDK's call, a query, or a message to a queue.

mod attempt;
mod failed;
mod guards;
mod permit;
mod settings;
mod turn;

pub use self::attempt::Attempt;
pub use self::failed::Failed;
pub use self::guards::Operation;
pub use self::settings::Settings;
