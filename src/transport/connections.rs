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
    last_used: Instant,
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
        let now = clock::now();
        let made = Made {
            at: now,
            last_used: now,
            peer,
            tls,
            link,
        };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_CONNECTIONS {
            let idlest = known.iter().min_by_key(|(_, made)| made.last_used);
            let idlest = idlest.map(|(local, _)| *local);
            idlest.map(|idlest| known.remove(&idlest));
        }
        known.insert(local, made);
    }

    /// An answer came over the connection from `local`.
    pub(super) fn used(&self, local: SocketAddr) -> Option<Used> {
        let now = clock::now();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let made = known.get_mut(&local)?;
        made.last_used = now;
        Some(Used {
            age: now.saturating_duration_since(made.at),
            tls: made.tls,
            link: made.link.clone(),
        })
    }
}

#[cfg(feature = "otel")]
impl Connections {
    /// How many of them the kernel still holds, by the list it gave when it was `asked`. Those that it does
    /// not are forgotten, but for what was made since.
    pub(super) fn open(&self, established: &HashSet<Ends>, asked: Instant) -> usize {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|local, made| made.at >= asked || established.contains(&(*local, made.peer)));
        known.len()
    }
}

/// More than a pool keeps to one address; what is forgotten, the one idle for longest, only has no age.
const MOST_CONNECTIONS: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn connection_that_is_used_is_remembered_longer_than_one_that_is_not() {
        let connections = Connections::default();
        let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        for port in 1..=1_024 {
            connections.made((at(port), at(9_999)), None, None);
        }
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(connections.used(at(1)).is_some());
        for port in 1_025..2_048 {
            connections.made((at(port), at(9_999)), None, None);
        }
        assert!(connections.used(at(1)).is_some(), "it is in use");
        assert!((2..=1_024).all(|port| connections.used(at(port)).is_none()));
    }

    #[cfg(feature = "otel")]
    #[tokio::test(start_paused = true)]
    async fn connection_made_while_the_kernel_is_asked_is_not_forgotten() {
        let connections = Connections::default();
        let (local, peer): (SocketAddr, SocketAddr) =
            (([127, 0, 0, 1], 1).into(), ([127, 0, 0, 1], 2).into());
        let asked = clock::now();
        connections.made((local, peer), None, None);
        assert_eq!(connections.open(&HashSet::new(), asked), 1);
        assert!(connections.used(local).is_some());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(connections.open(&HashSet::new(), clock::now()), 0);
        assert!(connections.used(local).is_none());
    }
}
