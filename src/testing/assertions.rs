//! Assertions on failures. If an assertion fails, it shows what happened.

use std::error::Error as StdError;
use std::fmt::Write;

use crate::chain::chain;
use crate::error::Error;
use crate::hop::{Effect, Hop, Kind};
use crate::sdk::{self, Classification};

/// Asserts at which hop a call failed, and how.
///
/// It takes an error of this crate, or an SDK's own error: see [`sdk::classify_error`](crate::sdk::classify_error) for
/// the errors that it understands.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::chaos::{ChaosConfig, ChaosLayer, Fault};
/// use sevenhops::{StandardLayer, assert_effect, assert_hop};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let chaos = ChaosLayer::new(ChaosConfig::new(0).inject(Fault::RefuseConnect, 1.0))?;
/// let service = ServiceBuilder::new()
///     .layer(StandardLayer::new(Duration::from_secs(10))?)
///     .layer(chaos)
///     .service(service_fn(async |_request: http::Request<String>| {
///         Ok::<_, std::io::Error>(http::Response::new(String::new()))
///     }));
/// let error = service.oneshot(http::Request::new(String::new())).await.unwrap_err();
/// assert_hop!(error, Connect); // a variant of `Hop`
/// assert_hop!(error, Connect, Refused); // and one of `Kind`
/// assert_effect!(error, None); // and one of `Effect`: None, Declined, Possible or Done
/// # Ok(()) }
/// ```
///
/// # Panics
///
/// Panics if the hop or the kind differs, and shows the error's sentence, its causes and the waterfall.
#[macro_export]
macro_rules! assert_hop {
    ($error:expr, $hop:ident $(, $kind:ident)? $(,)?) => {{
        use $crate::testing::Suspect as _;
        let kinds: &[$crate::Kind] = &[$($crate::Kind::$kind)?];
        $crate::testing::check_hop($error.suspect(), $crate::Hop::$hop, kinds)
    }};
}

/// Asserts whether a failed call may have happened: `None`, `Declined`, `Possible` or `Done`.
///
/// It takes the same errors as [`assert_hop!`](crate::assert_hop). `None` is a proof, and `Declined` is a claim of the
/// party that responded. One does not match the other.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::{assert_effect, Operation, OperationError};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let charge = Operation::new("payments", Duration::from_secs(10))?;
/// let declined = charge.run(async |_| Err::<(), _>(OperationError::declined("no coverage").permanent()));
/// assert_effect!(declined.await.unwrap_err(), Declined);
/// # Ok(()) }
/// ```
///
/// # Panics
///
/// Panics if the effect differs, and shows the error's sentence, its causes and the waterfall.
#[macro_export]
macro_rules! assert_effect {
    ($error:expr, $effect:ident $(,)?) => {{
        use $crate::testing::Suspect as _;
        $crate::testing::check_effect($error.suspect(), $crate::Effect::$effect)
    }};
}

/// An error that can be classified: see [`sdk::classify_error`].
pub trait Suspect {
    /// Returns the classification, and the text of all causes.
    fn suspect(&self) -> (Classification<'_>, String);
}

impl<E: StdError + 'static> Suspect for E {
    fn suspect(&self) -> (Classification<'_>, String) {
        (sdk::classify_error(self), causes(self))
    }
}

impl Suspect for dyn StdError {
    fn suspect(&self) -> (Classification<'_>, String) {
        (sdk::classify_error(self), causes(self))
    }
}

impl Suspect for dyn StdError + Send + Sync {
    fn suspect(&self) -> (Classification<'_>, String) {
        (sdk::classify_error(self), causes(self))
    }
}

/// Checks the hop and the kind, and shows the finding if they differ.
///
/// # Panics
///
/// Panics if the hop or the kind differs.
#[track_caller]
pub fn check_hop(found: (Classification<'_>, String), hop: Hop, kinds: &[Kind]) {
    let finding = found.0;
    let holds = finding.hop() == Some(hop) && kinds.iter().all(|kind| finding.kind() == *kind);
    let mut expected = format!("failed at {hop}");
    for kind in kinds {
        expected = format!("{expected}: {kind}");
    }
    check(holds, &expected, found);
}

/// Checks the effect, and shows the finding if it differs.
///
/// # Panics
///
/// Panics if the effect differs.
#[track_caller]
pub fn check_effect(found: (Classification<'_>, String), effect: Effect) {
    let holds = found.0.effect() == effect;
    check(holds, &format!("effect {effect}"), found);
}

#[track_caller]
fn check(holds: bool, expected: &str, (finding, causes): (Classification<'_>, String)) {
    if holds {
        return;
    }
    let timeline = finding.timeline().map(|timeline| format!("\n{timeline}"));
    let timeline = timeline.unwrap_or_default();
    panic!("expected: {expected}\n   found: {finding}\n{causes}{timeline}");
}

/// Returns a line for each error of the chain, except for errors of this crate: the finding shows those.
fn causes(error: &(dyn StdError + 'static)) -> String {
    let mut lines = String::new();
    for error in chain(error).filter(|error| !error.is::<Error>()) {
        let _ = writeln!(lines, "     because: {error}");
    }
    lines
}
