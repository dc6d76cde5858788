//! Recognizes the failures of this process itself: they count against no destination.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

use super::Kind;
use super::cause::RuntimeGone;

/// Returns the kind if an error is a failure of this process. Its causes are not read.
pub(crate) fn local(error: &(dyn StdError + 'static)) -> Option<Kind> {
    if let Some(io) = error.downcast_ref::<io::Error>() {
        match is_lacking(io) {
            true => Some(Kind::LocalResources),
            false => is_framing_too_large(io).then_some(Kind::LocalProtocol),
        }
    } else if let Some(io) = error.downcast_ref::<Arc<io::Error>>() {
        is_lacking(io).then_some(Kind::LocalResources)
    } else if let Some(h2) = error.downcast_ref::<h2::Error>() {
        // h2 closes a connection on which it reset too many streams itself, or received too many small frames.
        let is_calmed = h2.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM);
        (h2.is_library() && is_calmed).then_some(Kind::LocalProtocol)
    } else if let Some(hyper) = error.downcast_ref::<hyper::Error>() {
        // hyper has a predicate for this, but only for servers.
        let is_too_large = hyper.is_parse() && hyper.to_string() == "message head is too large";
        is_too_large.then_some(Kind::LocalProtocol)
    } else if error.is::<RuntimeGone>() {
        Some(Kind::LocalResources)
    } else if let Some(kind) = ours(error) {
        Some(kind)
    } else {
        // hyper gives no other sign that the runtime was shut down together with the connection's task.
        let is_gone = error.to_string() == "runtime dropped the dispatch task";
        is_gone.then_some(Kind::LocalResources)
    }
}

/// Returns whether the text of an error comes from this process or its operating system, and says why a call failed
/// with this kind.
pub(crate) fn is_shown(error: &(dyn StdError + 'static), kind: Kind) -> bool {
    #[cfg(feature = "client")]
    if error.is::<super::cause::SocketFailed>() {
        return true;
    }
    kind.is_local() && local(error).is_some()
}

/// Reads the causes that only the transport adds.
#[cfg(feature = "client")]
fn ours(error: &(dyn StdError + 'static)) -> Option<Kind> {
    use super::cause::{HeadRefused, SocketFailed};

    if let Some(SocketFailed(io)) = error.downcast_ref() {
        // No network is involved: the process may not open the socket.
        let is_denied = io.kind() == io::ErrorKind::PermissionDenied;
        return is_denied.then_some(Kind::LocalResources);
    }
    error.is::<HeadRefused>().then_some(Kind::LocalProtocol)
}

#[cfg(not(feature = "client"))]
const fn ours(_: &(dyn StdError + 'static)) -> Option<Kind> {
    None
}

/// Returns whether hyper refused the trailers or the chunk extensions of a body, because they are too many or too long.
/// hyper gives no other sign.
fn is_framing_too_large(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData
        && error.get_ref().is_some_and(|inner| {
            let text = inner.to_string();
            FRAMING.contains(&text.as_str())
        })
}

/// Returns whether the operating system refused a resource or a permission to this process, or tokio's runtime is gone.
fn is_lacking(error: &io::Error) -> bool {
    use io::ErrorKind::{AddrInUse, AddrNotAvailable, OutOfMemory};
    // Only the local system reports these kinds, even if the error code was lost.
    matches!(error.kind(), AddrInUse | AddrNotAvailable | OutOfMemory)
        || match error.raw_os_error() {
            Some(code) => LACKING.contains(&code),
            None => tokio::runtime::is_rt_shutdown_err(error),
        }
}

const FRAMING: [&str; 3] = [
    "chunk trailers count overflow",
    "chunk trailers bytes over limit",
    "chunk extensions over limit",
];

/// EPERM, ENOMEM, ENODEV, EINVAL, ENFILE, EMFILE, EAFNOSUPPORT, EADDRNOTAVAIL, ENOBUFS. EACCES is not among them,
/// because a router on the path can cause it too (ICMPv6 "administratively prohibited").
#[cfg(any(target_os = "linux", target_os = "android"))]
const LACKING: &[i32] = &[1, 12, 19, 22, 23, 24, 97, 99, 105];
/// The same on BSD and macOS.
#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
const LACKING: &[i32] = &[1, 12, 19, 22, 23, 24, 47, 49, 55];
/// WSAEINVAL, WSAEMFILE, WSAEAFNOSUPPORT, WSAEADDRNOTAVAIL, WSAENOBUFS.
#[cfg(not(unix))]
const LACKING: &[i32] = &[10_022, 10_024, 10_047, 10_049, 10_055];

#[cfg(test)]
#[path = "local_tests.rs"]
mod tests;
