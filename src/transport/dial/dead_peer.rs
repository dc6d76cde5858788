//! How long a connection may stay unanswered by the machine at its other end: pure.
//!
//! A path that goes dark (a partition, a firewall that forgot the connection, a host that lost its
//! power) looks like a slow service. Three mechanisms below HTTP detect it:
//!
//! - the kernel, for bytes that were sent and not acknowledged,
//! - its keep-alive, for a connection on which nothing is sent,
//! - HTTP/2's PING, if the kernel at the other end is not the peer's.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpSocket;

use crate::timeout::Timeouts;
use crate::transport::options::KeepAlive;
use crate::transport::wire::watch::PingTimes;

/// When a connection is taken for dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeadPeerTimeouts {
    /// How long what was sent may stay unacknowledged.
    unacknowledged: Duration,
    /// After how long a silence the kernel asks whether the peer is there, and how often from then.
    probe: Duration,
    probe_again: Duration,
    /// How many times, where the kernel does not go by the time above instead.
    probes: u32,
    /// The silence before a PING of HTTP/2, and the time for its acknowledgment.
    ping: Duration,
    pong: Duration,
}

impl DeadPeerTimeouts {
    /// No byte acknowledged for the send timeout: dead. With the defaults that is half of the attempt,
    /// and the first byte timeout is four fifths of it, so that a dark path is told before a silent
    /// service would be. (The kernel counts from its first retransmission, 0.2 to 0.4 s after the request: told
    /// after 3 s of the 4 s that a deadline of ten seconds leaves.)
    ///
    /// Two things keep it from being shorter. The kernel applies it to the connect as well, whose
    /// limit is kept above this, with a name of its own. It follows the limits of an attempt that another one may
    /// follow, although the connection may serve one with more time: with those, a dark path would be told after a
    /// silent service. And it counts a peer that acknowledges but
    /// has no room for more: below the send timeout, a server that stops reading would be taken for
    /// a path that is dark.
    pub(crate) fn of(timeouts: &Timeouts) -> Self {
        let connect = timeouts.connect().get() + AFTER_CONNECT;
        let unacknowledged = timeouts.send().get().max(connect).max(SHORTEST);
        let half = unacknowledged / 2;
        let third = unacknowledged / 3;
        Self {
            unacknowledged,
            probe: whole_seconds(half),
            probe_again: whole_seconds(half / 2),
            probes: PROBES,
            ping: third.max(SHORTEST_PING),
            // Longer than that: a peer that collects its garbage is not dead.
            pong: third * 2,
        }
    }

    /// The same, or with a keep-alive of the user's.
    pub(crate) fn with(timeouts: &Timeouts, keep_alive: Option<KeepAlive>) -> Self {
        let patience = Self::of(timeouts);
        match keep_alive {
            Some(keep_alive) => patience.by(keep_alive, timeouts),
            None => patience,
        }
    }

    /// The longest that any of these limits needs. A connection serves calls under all of them.
    pub(crate) fn longest(timeouts: &[Timeouts], keep_alive: Option<KeepAlive>) -> Option<Self> {
        let all = timeouts
            .iter()
            .map(|timeouts| Self::with(timeouts, keep_alive));
        all.reduce(Self::or_longer)
    }

    /// The longer one of each time. Under a keep-alive of the user's, some are the same and others differ.
    fn or_longer(self, other: Self) -> Self {
        Self {
            unacknowledged: self.unacknowledged.max(other.unacknowledged),
            probe: self.probe.max(other.probe),
            probe_again: self.probe_again.max(other.probe_again),
            probes: self.probes.max(other.probes),
            ping: self.ping.max(other.ping),
            pong: self.pong.max(other.pong),
        }
    }

    /// The same with a keep-alive of the user's, which decides when a connection is dead, idle or not. The connect has
    /// its own limit all the same.
    fn by(self, keep_alive: KeepAlive, timeouts: &Timeouts) -> Self {
        let connect = timeouts.connect().get() + AFTER_CONNECT;
        Self {
            unacknowledged: keep_alive.whole().max(connect),
            probe: keep_alive.time,
            probe_again: keep_alive.interval,
            probes: keep_alive.retries,
            ..self
        }
    }

    /// Sets a socket's options before it connects.
    pub(super) fn set(self, socket: &TcpSocket) -> io::Result<()> {
        let socket = SockRef::from(socket);
        #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
        socket.set_tcp_user_timeout(Some(self.unacknowledged.min(LONGEST)))?;
        let keepalive = TcpKeepalive::new()
            .with_time(self.probe)
            .with_interval(self.probe_again);
        #[cfg(not(target_os = "windows"))]
        let keepalive = keepalive.with_retries(self.probes);
        socket.set_tcp_keepalive(&keepalive)
    }

    /// When HTTP/2 asks. The kernel's probes watch idle connections without waking anything, and servers count
    /// pings on connections without streams as abuse (gRPC: two, then GOAWAY).
    pub(super) const fn pings(self) -> PingTimes {
        PingTimes {
            after: self.ping,
            within: self.pong,
        }
    }

    /// The same for the connections of a bare reqwest client.
    #[cfg(feature = "reqwest")]
    pub(crate) fn apply(self, builder: reqwest::ClientBuilder) -> reqwest::ClientBuilder {
        #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
        let builder = builder.tcp_user_timeout(self.unacknowledged);
        builder
            .tcp_keepalive(self.probe)
            .tcp_keepalive_interval(self.probe_again)
            // Linux goes by the time above instead.
            .tcp_keepalive_retries(PROBES)
            .http2_keep_alive_interval(self.ping)
            .http2_keep_alive_timeout(self.pong)
            .http2_keep_alive_while_idle(false)
    }
}

/// Rounded up: the kernel counts its probes in seconds, and takes zero for a mistake.
fn whole_seconds(time: Duration) -> Duration {
    let up = u64::from(time.subsec_nanos() > 0);
    Duration::from_secs((time.as_secs() + up).max(1))
}

/// Our own limit of the connect runs out first.
const AFTER_CONNECT: Duration = Duration::from_millis(100);
/// The kernel sends again after 200 ms at the earliest; that needs time to be acknowledged.
const SHORTEST: Duration = Duration::from_millis(300);
/// A call waits for a few of them at the most; more often is what servers call a flood.
const SHORTEST_PING: Duration = Duration::from_secs(1);
const PROBES: u32 = 2;
/// Linux refuses a longer `TCP_USER_TIMEOUT`: it takes the milliseconds for negative.
#[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
const LONGEST: Duration = Duration::from_millis(i32::MAX as u64);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeout::TimeoutsConfig;

    /// When the kernel sends again what was not acknowledged, at the latest on a path of 100 ms.
    const FIRST_REPEAT: Duration = Duration::from_millis(400);
    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn dark_path_is_told_before_a_silent_service_for_every_deadline_from_four_seconds() {
        for deadline in [4, 5, 10, 30, 60, 600, 3_600, 86_400].map(Duration::from_secs) {
            let timeouts = Timeouts::new(deadline).unwrap();
            let patience = DeadPeerTimeouts::of(&timeouts);
            let told = patience.unacknowledged + FIRST_REPEAT;
            assert!(told < timeouts.first_byte().get(), "{deadline:?}");
            assert!(patience.unacknowledged >= timeouts.send().get());
            assert!(patience.unacknowledged > timeouts.connect().get());
        }
    }

    #[test]
    fn path_that_goes_dark_during_the_wait_is_told_before_a_silent_service_from_six_seconds() {
        for deadline in [6, 10, 30, 60, 600].map(Duration::from_secs) {
            let timeouts = Timeouts::new(deadline).unwrap();
            let patience = DeadPeerTimeouts::of(&timeouts);
            let by_ping = patience.ping + patience.pong;
            assert!(by_ping < timeouts.first_byte().get(), "{deadline:?}");
            let by_probe = patience.probe + patience.probe_again;
            assert!(by_probe < timeouts.first_byte().get(), "{deadline:?}");
        }
    }

    #[test]
    fn ten_seconds_make_two_and_a_half() {
        let patience = DeadPeerTimeouts::of(&Timeouts::new(MS(10_000)).unwrap());
        assert_eq!(patience.unacknowledged, MS(2_600));
        assert_eq!(
            (patience.probe, patience.probe_again),
            (MS(2_000), MS(1_000))
        );
        assert_eq!(patience.ping, MS(1_000));
        assert_eq!(patience.pong.as_millis(), 1_733);
    }

    #[test]
    fn connect_limit_is_never_cut_short() {
        let long = TimeoutsConfig::new().connect(MS(4_000)).send(MS(500));
        let timeouts = Timeouts::from_config(MS(10_000), long).unwrap();
        assert_eq!(DeadPeerTimeouts::of(&timeouts).unacknowledged, MS(4_100));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn keep_alive_of_the_user_decides_when_a_connection_is_dead() {
        let timeouts = Timeouts::new(MS(10_000)).unwrap();
        let keep_alive = KeepAlive {
            time: MS(60_000),
            interval: MS(10_000),
            retries: 3,
        };
        let own = DeadPeerTimeouts::of(&timeouts);
        let set = |patience: DeadPeerTimeouts| {
            let socket = TcpSocket::new_v4().unwrap();
            patience.set(&socket).unwrap();
            let socket = SockRef::from(&socket);
            (
                socket.tcp_keepalive_time().unwrap(),
                socket.tcp_keepalive_interval().unwrap(),
                socket.tcp_keepalive_retries().unwrap(),
                socket.tcp_user_timeout().unwrap(),
            )
        };
        let by_limits = (MS(2_000), MS(1_000), PROBES, Some(MS(2_600)));
        assert_eq!(set(own), by_limits);
        let by_user = (MS(60_000), MS(10_000), 3, Some(MS(90_000)));
        assert_eq!(set(own.by(keep_alive, &timeouts)), by_user);
        let short = KeepAlive {
            time: MS(1_000),
            interval: MS(1_000),
            retries: 1,
        };
        let connect = timeouts.connect().get() + AFTER_CONNECT;
        assert_eq!(set(own.by(short, &timeouts)).3, Some(connect));
        let longest = KeepAlive {
            time: MS(32_767_000),
            interval: MS(32_767_000),
            retries: 127,
        };
        assert_eq!(set(own.by(longest, &timeouts)).3, Some(LONGEST));
    }

    #[test]
    fn kernel_is_given_the_time_to_send_again_and_whole_seconds() {
        let patience = DeadPeerTimeouts::of(&Timeouts::new(MS(10)).unwrap());
        assert_eq!(patience.unacknowledged, SHORTEST);
        assert_eq!(
            (patience.probe, patience.probe_again),
            (MS(1_000), MS(1_000))
        );
        assert_eq!(whole_seconds(MS(1_000)), MS(1_000));
        assert_eq!(whole_seconds(MS(1_001)), MS(2_000));
    }

    #[test]
    fn connection_waits_for_as_long_as_any_destination_needs() {
        let timeouts =
            [MS(1_000), MS(60_000), MS(5_000)].map(|deadline| Timeouts::new(deadline).unwrap());
        let longest = DeadPeerTimeouts::longest(&timeouts, None);
        assert_eq!(longest, Some(DeadPeerTimeouts::of(&timeouts[1])));
        assert_ne!(longest, Some(DeadPeerTimeouts::of(&timeouts[0])));
        // The user's keep-alive is the same for all: the pings differ.
        let keep_alive = KeepAlive {
            time: MS(60_000),
            interval: MS(10_000),
            retries: 3,
        };
        let longest = DeadPeerTimeouts::longest(&timeouts, Some(keep_alive));
        let expected = DeadPeerTimeouts::of(&timeouts[1]).by(keep_alive, &timeouts[1]);
        assert_eq!(longest, Some(expected));
    }
}
