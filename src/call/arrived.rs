//! How one of our calls finds the options of the request that its server handles: by the task that polls the handler.
//!
//! They can only shorten the call or reduce its attempts.

use tokio::task::futures::TaskLocalFuture;

use crate::options::Options;

tokio::task_local! {
    static ARRIVED: Options;
}

/// Restrains the calls that begin in `future` by these options.
///
/// The restraints of a request around this one hold as well.
pub(crate) fn restrain<F: Future>(mut options: Options, future: F) -> TaskLocalFuture<Options, F> {
    restrain_call(&mut options);
    ARRIVED.scope(options, future)
}

/// Restrains the calls that begin in `make` by these options.
pub(crate) fn restrain_sync<T>(mut options: Options, make: impl FnOnce() -> T) -> T {
    restrain_call(&mut options);
    ARRIVED.sync_scope(options, make)
}

/// Adds the restraints of the request that is handled here.
pub(super) fn restrain_call(options: &mut Options) {
    let _ = ARRIVED.try_with(|arrived| options.restrain_by(arrived));
}
