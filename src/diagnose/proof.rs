//! Which foreign errors prove that the request did not go out.

use std::error::Error as StdError;

use super::evidence::evidence;
use crate::chain::chain;
use crate::hop::{LimitExpired, Played};

/// Whether an error says of itself that no request went out: a connection was not made, or the server handed
/// the request back. That it came up while a stage of ours was open says nothing of what else the service did.
pub(super) fn is_proof(error: &(dyn StdError + 'static)) -> bool {
    let found = evidence(error);
    found.unprocessed || found.set_up.is_some() || found.hop.is_some() || {
        let mut causes = chain(error);
        causes.any(|cause| cause.is::<LimitExpired>() || cause.is::<Played>())
    }
}
