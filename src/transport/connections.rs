use std::collections::HashMap;
#[cfg(feature = "otel")]
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

#[cfg(feature = "otel")]
use super::sockets::Ends;
use crate::clock;
use crate::telemetry::Link;

/// The connections of one client, by our end of them: written down as they are set up, looked at when
/// an answer comes over one.
#[derive(Clone, Debug, Default)]
pub(super) struct Connections(Arc<Mutex<HashMap<SocketAddr, Made>>>);

/// A connection that was made.
#[derive(Clone, Debug)]
struct Made {
    at: Instant,
    #[cfg_attr(not(feature = "otel"), expect(dead_code, reason = "the gauge asks"))]
    peer: SocketAddr,
    tls: Option<&'static str>,
    link: Option<Link>,
}

/// What is known of a connection that is used.
#[derive(Debug)]
pub(super) struct Used {
    pub(super) age: Duration,
    pub(super) tls: Option<&'static str>,
    /// What ties an attempt to the set-up.
    pub(super) link: Option<Link>,
}

impl Connections {
    /// A connection from `local` to `peer` stands.
    pub(super) fn made(
        &self,
        (local, peer): (SocketAddr, SocketAddr),
        tls: Option<&'static str>,
        link: Option<Link>,
    ) {
        let made = Made {
            at: clock::now(),
            peer,
            tls,
            link,
        };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_CONNECTIONS {
            let oldest = known.iter().min_by_key(|(_, made)| made.at);
            let oldest = oldest.map(|(local, _)| *local);
            oldest.map(|oldest| known.remove(&oldest));
        }
        known.insert(local, made);
    }

    /// An answer came over the connection from `local`.
    pub(super) fn used(&self, local: SocketAddr) -> Option<Used> {
        let now = clock::now();
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&local).map(|made| Used {
            age: now.saturating_duration_since(made.at),
            tls: made.tls,
            link: made.link.clone(),
        })
    }
}

#[cfg(feature = "otel")]
impl Connections {
    /// How many of them the kernel still holds. Those that it does not are forgotten.
    pub(super) fn open(&self, established: &HashSet<Ends>) -> usize {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|local, made| established.contains(&(*local, made.peer)));
        known.len()
    }
}

/// More than a pool keeps to one address; what is forgotten only has no age.
const MOST_CONNECTIONS: usize = 1_024;
