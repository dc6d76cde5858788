//! What this process lacks, told from what others did: the failures that count against no destination.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

use super::Kind;
use super::cause::RuntimeGone;

/// The kind of an error that is this process's own failure, looked at without its causes.
pub(crate) fn local(error: &(dyn StdError + 'static)) -> Option<Kind> {
    if let Some(io) = error.downcast_ref::<io::Error>() {
        is_lacking(io).then_some(Kind::LocalResources)
    } else if let Some(io) = error.downcast_ref::<Arc<io::Error>>() {
        is_lacking(io).then_some(Kind::LocalResources)
    } else if let Some(h2) = error.downcast_ref::<h2::Error>() {
        // h2 ends a connection on which it reset too many streams itself, or read too many small frames.
        let is_calmed = h2.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM);
        (h2.is_library() && is_calmed).then_some(Kind::LocalProtocol)
    } else if let Some(hyper) = error.downcast_ref::<hyper::Error>() {
        // It has a predicate for servers only.
        let is_too_large = hyper.is_parse() && hyper.to_string() == "message head is too large";
        is_too_large.then_some(Kind::LocalProtocol)
    } else if error.is::<RuntimeGone>() {
        Some(Kind::LocalResources)
    } else {
        // hyper gives no other sign that the connection's task went with its runtime.
        let is_gone = error.to_string() == "runtime dropped the dispatch task";
        is_gone.then_some(Kind::LocalResources)
    }
}

/// Whether the operating system had no more of something for this process, did not permit it, or tokio's
/// runtime is gone.
fn is_lacking(error: &io::Error) -> bool {
    use io::ErrorKind::{AddrInUse, AddrNotAvailable, OutOfMemory};
    // Only the own side says these, whoever has lost the code on the way.
    matches!(error.kind(), AddrInUse | AddrNotAvailable | OutOfMemory)
        || match error.raw_os_error() {
            Some(code) => LACKING.contains(&code),
            None => tokio::runtime::is_rt_shutdown_err(error),
        }
}

/// EPERM, ENOMEM, ENODEV, EINVAL, ENFILE, EMFILE, EADDRNOTAVAIL, ENOBUFS. EACCES is not among them: a router on the
/// way says it, too (ICMPv6 "administratively prohibited").
#[cfg(any(target_os = "linux", target_os = "android"))]
const LACKING: &[i32] = &[1, 12, 19, 22, 23, 24, 99, 105];
/// The same on BSD and macOS.
#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
const LACKING: &[i32] = &[1, 12, 19, 22, 23, 24, 49, 55];
/// WSAEINVAL, WSAEMFILE, WSAEADDRNOTAVAIL, WSAENOBUFS.
#[cfg(not(unix))]
const LACKING: &[i32] = &[10_022, 10_024, 10_049, 10_055];

#[cfg(test)]
#[path = "local_tests.rs"]
mod tests;
