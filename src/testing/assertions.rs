//! Assertions on failures, which show what happened when they do not hold.

use std::error::Error as StdError;
use std::fmt::{self, Write};
use std::io;

use crate::error::Error;
use crate::hop::{Effect, Hop, Kind};

/// Asserts at which hop a call failed, and how.
///
/// Takes an error of this crate, or any error with one of them among its causes, such as an SDK's own.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::chaos::{ChaosLayer, Mishap, Settings};
/// use sevenhops::{StandardLayer, assert_effect, assert_hop};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let chaos = ChaosLayer::new(Settings::new(0).mishap(Mishap::RefuseConnect, 1.0))?;
/// let service = ServiceBuilder::new()
///     .layer(StandardLayer::new(Duration::from_secs(10))?)
///     .layer(chaos)
///     .service(service_fn(async |_request: http::Request<String>| {
///         Ok::<_, std::io::Error>(http::Response::new(String::new()))
///     }));
/// let error = service.oneshot(http::Request::new(String::new())).await.unwrap_err();
/// assert_hop!(error, Connect); // a variant of `Hop`
/// assert_hop!(error, Connect, Refused); // and one of `Kind`
/// assert_effect!(error, None); // one of `Effect`
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

/// Asserts whether a call that failed may have happened all the same.
///
/// Takes what [`assert_hop!`](crate::assert_hop) takes.
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

/// An error that may have one of ours among its causes.
pub trait Suspect {
    /// Finds the first of ours in the chain.
    ///
    /// # Errors
    ///
    /// All that the chain says, if none of them is ours.
    fn suspect(&self) -> Result<&Error, Chain>;
}

impl<E: StdError + 'static> Suspect for E {
    fn suspect(&self) -> Result<&Error, Chain> {
        find(self)
    }
}

impl Suspect for dyn StdError {
    fn suspect(&self) -> Result<&Error, Chain> {
        find(self)
    }
}

impl Suspect for dyn StdError + Send + Sync {
    fn suspect(&self) -> Result<&Error, Chain> {
        find(self)
    }
}

/// What a chain of causes says, a line each.
#[derive(Debug)]
pub struct Chain(String);

/// Compares, and shows what there was instead.
///
/// # Panics
///
/// Panics where it was another hop or another kind.
#[track_caller]
pub fn check_hop(found: Result<&Error, Chain>, hop: Hop, kinds: &[Kind]) {
    let holds =
        |error: &Error| error.hop() == Some(hop) && kinds.iter().all(|kind| error.kind() == *kind);
    let mut expected = format!("failed at {hop}");
    for kind in kinds {
        expected = format!("{expected}: {kind}");
    }
    check(found, holds, &expected);
}

/// Compares, and shows what there was instead.
///
/// # Panics
///
/// Panics where it was another effect.
#[track_caller]
pub fn check_effect(found: Result<&Error, Chain>, effect: Effect) {
    let holds = |error: &Error| error.effect() == effect;
    check(found, holds, &format!("effect {effect}"));
}

#[track_caller]
fn check(found: Result<&Error, Chain>, holds: impl Fn(&Error) -> bool, expected: &str) {
    match found {
        Ok(error) if holds(error) => {}
        Ok(error) => panic!("expected: {expected}\n   found: {}", Shown(error)),
        Err(Chain(said)) => panic!("expected: {expected}\n   found: no error of sevenhops\n{said}"),
    }
}

fn find<'e>(error: &'e (dyn StdError + 'static)) -> Result<&'e Error, Chain> {
    let mut said = String::new();
    let mut next = Some(error);
    for _ in 0..LONGEST_CHAIN {
        let Some(error) = next else { break };
        if let Some(ours) = error.downcast_ref() {
            return Ok(ours);
        }
        let _ = writeln!(said, "     because: {error}");
        // An io::Error hides what it wraps from source().
        let inner = error.downcast_ref().and_then(io::Error::get_ref);
        next = inner.map_or_else(|| error.source(), |inner| Some(inner));
    }
    Err(Chain(said))
}

/// An error with its causes and its waterfall.
struct Shown<'e>(&'e Error);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            writeln!(f, "     because: {error}")?;
            cause = error.source();
        }
        match self.0.timeline() {
            Some(timeline) => write!(f, "\n{timeline}"),
            None => Ok(()),
        }
    }
}

/// Longer than any chain there is; a bound, in case one bites its tail.
const LONGEST_CHAIN: usize = 32;
