//! Assertions on failures, which show what happened when they do not hold.

use std::error::Error as StdError;
use std::fmt::Write;

use crate::chain::chain;
use crate::error::Error;
use crate::hop::{Effect, Hop, Kind};
use crate::sdk::{self, Classification};

/// Asserts at which hop a call failed, and how.
///
/// Takes an error of this crate, or an SDK's own: see [`sdk::classify_error`](crate::sdk::classify_error) for what is
/// understood.
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
/// Panics where it was another hop or another kind, and shows the error's sentence, its causes and the
/// waterfall.
#[macro_export]
macro_rules! assert_hop {
    ($error:expr, $hop:ident $(, $kind:ident)? $(,)?) => {{
        use $crate::testing::Suspect as _;
        let kinds: &[$crate::Kind] = &[$($crate::Kind::$kind)?];
        $crate::testing::check_hop($error.suspect(), $crate::Hop::$hop, kinds)
    }};
}

/// Asserts whether a call that failed may have happened all the same: `None`, `Declined`, `Possible` or `Done`.
///
/// Takes what [`assert_hop!`](crate::assert_hop) takes. `None` is a proof, `Declined` the word of the party that
/// responded: neither passes for the other.
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
/// Panics where it was another effect, and shows the error's sentence, its causes and the waterfall.
#[macro_export]
macro_rules! assert_effect {
    ($error:expr, $effect:ident $(,)?) => {{
        use $crate::testing::Suspect as _;
        $crate::testing::check_effect($error.suspect(), $crate::Effect::$effect)
    }};
}

/// An error that can be asked what it says of a call: see [`sdk::classify_error`].
pub trait Suspect {
    /// The finding, and the text of all causes.
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

/// Compares, and shows what there was instead.
///
/// # Panics
///
/// Panics where it was another hop or another kind.
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

/// Compares, and shows what there was instead.
///
/// # Panics
///
/// Panics where it was another effect.
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

/// A line for each error of the chain but ours: what that one says is the finding.
fn causes(error: &(dyn StdError + 'static)) -> String {
    let mut said = String::new();
    for error in chain(error).filter(|error| !error.is::<Error>()) {
        let _ = writeln!(said, "     because: {error}");
    }
    said
}
