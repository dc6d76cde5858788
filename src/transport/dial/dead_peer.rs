//! How long the peer may stay silent before a connection counts as dead. Pure.
//!
//! A path that goes dark (a partition, a firewall that dropped its state, a host that lost its power) looks like a slow
//! service. Three mechanisms below HTTP detect it:
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

/// When a connection counts as dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeadPeerTimeouts {
    /// How long sent bytes may stay unacknowledged.
    unacknowledged: Duration,
    /// The silence after which the kernel sends its first probe, and the interval of further probes.
    probe: Duration,
    probe_again: Duration,
    /// The number of probes, on systems where the kernel does not use the time above instead.
    probes: u32,
    /// The silence before a PING of HTTP/2, and the time for its acknowledgment.
    ping: Duration,
    pong: Duration,
}

impl DeadPeerTimeouts {
    /// A connection is dead if no byte was acknowledged for the send timeout. With the defaults that is half of the
    /// attempt timeout, and the first byte timeout is longer. So a dark path is reported before a silent service would
    /// be. (The kernel counts from its first retransmission, 0.2 to 0.4 s after the request. So it reports after 3 s of
    /// the 4 s that a deadline of ten seconds leaves.)
    ///
    /// It cannot be shorter, for two reasons. The kernel applies it to the connect as well, and the connect timeout
    /// must expire first, because it names its hop. The kernel also counts a peer that acknowledges but has no room for
    /// more. With a time below the send timeout, a server that stops reading would look like a dark path. It follows
    /// the timeouts of an attempt that another one may follow, although a connection may also serve a last attempt with
    /// more time. With the timeouts of a last attempt, a dark path would be reported after a silent service.
    pub(crate) fn of(timeouts: &Timeouts) -> Self {
        let connect = timeouts.connect() + AFTER_CONNECT;
        let unacknowledged = timeouts.send().max(connect).max(SHORTEST);
        let half = unacknowledged / 2;
        let third = unacknowledged / 3;
        Self {
            unacknowledged,
            probe: whole_seconds(half),
            probe_again: whole_seconds(half / 2),
            probes: PROBES,
            ping: third.max(SHORTEST_PING),
            // Longer than a pause for garbage collection: such a peer is not dead.
            pong: third * 2,
        }
    }

    /// Returns these times, or those of the user's keep-alive.
    pub(crate) fn with(timeouts: &Timeouts, keep_alive: Option<KeepAlive>) -> Self {
        let times = Self::of(timeouts);
        match keep_alive {
            Some(keep_alive) => times.by(keep_alive, timeouts),
            None => times,
        }
    }

    /// Returns the longest times that any of these timeouts needs. A connection serves calls with all of them.
    pub(crate) fn longest(timeouts: &[Timeouts], keep_alive: Option<KeepAlive>) -> Option<Self> {
        let all = timeouts
            .iter()
            .map(|timeouts| Self::with(timeouts, keep_alive));
        all.reduce(Self::or_longer)
    }

    /// Returns the longer value of each time. With a keep-alive of the user, some are equal and others differ.
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

    /// Returns the times with the user's keep-alive, which then decides when a connection is dead, idle or not. The
    /// connect still has its own timeout.
    fn by(self, keep_alive: KeepAlive, timeouts: &Timeouts) -> Self {
        let connect = timeouts.connect() + AFTER_CONNECT;
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

    /// Returns the times of HTTP/2's PINGs, which are sent only while requests wait. The kernel's probes watch idle
    /// connections without waking a task. Servers count PINGs on connections without streams as abuse, and more than two
    /// between two frames of responses (gRPC: then GOAWAY).
    pub(super) const fn pings(self) -> PingTimes {
        PingTimes {
            after: self.ping,
            within: self.pong,
        }
    }

    /// Sets the same options for the connections of a bare reqwest client.
    #[cfg(feature = "reqwest")]
    pub(crate) fn apply(self, builder: reqwest::ClientBuilder) -> reqwest::ClientBuilder {
        #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
        let builder = builder.tcp_user_timeout(self.unacknowledged);
        builder
            .tcp_keepalive(self.probe)
            .tcp_keepalive_interval(self.probe_again)
            // Linux uses the time above instead.
            .tcp_keepalive_retries(PROBES)
            .http2_keep_alive_interval(self.ping)
            .http2_keep_alive_timeout(self.pong)
            .http2_keep_alive_while_idle(false)
    }
}

/// Rounds up: the kernel counts its probes in seconds, and rejects zero.
fn whole_seconds(time: Duration) -> Duration {
    let up = u64::from(time.subsec_nanos() > 0);
    Duration::from_secs((time.as_secs() + up).max(1))
}

/// The crate's own connect timeout expires first.
const AFTER_CONNECT: Duration = Duration::from_millis(100);
/// The kernel retransmits after 200 ms at the earliest, and the retransmission needs time to be acknowledged.
const SHORTEST: Duration = Duration::from_millis(300);
/// A call waits for a few PINGs at most. Servers treat more frequent PINGs as a flood.
const SHORTEST_PING: Duration = Duration::from_secs(1);
const PROBES: u32 = 2;
/// Linux refuses a longer `TCP_USER_TIMEOUT`: it reads the milliseconds as a negative number.
#[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
const LONGEST: Duration = Duration::from_millis(i32::MAX as u64);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeout::TimeoutsConfig;

    /// The latest time at which the kernel retransmits unacknowledged bytes on a path of 100 ms.
    const FIRST_RETRANSMISSION: Duration = Duration::from_millis(400);
    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn dark_path_is_reported_before_a_silent_service_for_every_deadline_from_four_seconds() {
        for deadline in [4, 5, 10, 30, 60, 600, 3_600, 86_400].map(Duration::from_secs) {
            let timeouts = Timeouts::new(deadline).unwrap();
            let times = DeadPeerTimeouts::of(&timeouts);
            let reported = times.unacknowledged + FIRST_RETRANSMISSION;
            assert!(reported < timeouts.first_byte(), "{deadline:?}");
            assert!(times.unacknowledged >= timeouts.send());
            assert!(times.unacknowledged > timeouts.connect());
        }
    }

    #[test]
    fn path_that_goes_dark_during_the_wait_is_reported_before_a_silent_service_from_six_seconds() {
        for deadline in [6, 10, 30, 60, 600].map(Duration::from_secs) {
            let timeouts = Timeouts::new(deadline).unwrap();
            let times = DeadPeerTimeouts::of(&timeouts);
            let by_ping = times.ping + times.pong;
            assert!(by_ping < timeouts.first_byte(), "{deadline:?}");
            let by_probe = times.probe + times.probe_again;
            assert!(by_probe < timeouts.first_byte(), "{deadline:?}");
        }
    }

    #[test]
    fn deadline_of_ten_seconds_gives_two_and_a_half() {
        let times = DeadPeerTimeouts::of(&Timeouts::new(MS(10_000)).unwrap());
        assert_eq!(times.unacknowledged, MS(2_600));
        assert_eq!((times.probe, times.probe_again), (MS(2_000), MS(1_000)));
        assert_eq!(times.ping, MS(1_000));
        assert_eq!(times.pong.as_millis(), 1_733);
    }

    #[test]
    fn connect_timeout_always_expires_first() {
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
        let set = |times: DeadPeerTimeouts| {
            let socket = TcpSocket::new_v4().unwrap();
            times.set(&socket).unwrap();
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
        let connect = timeouts.connect() + AFTER_CONNECT;
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
        let times = DeadPeerTimeouts::of(&Timeouts::new(MS(10)).unwrap());
        assert_eq!(times.unacknowledged, SHORTEST);
        assert_eq!((times.probe, times.probe_again), (MS(1_000), MS(1_000)));
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
