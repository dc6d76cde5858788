//! Checks whether the peer of an HTTP/2 connection is alive, and whether it allows more streams.

use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::client::Connection;
use h2::{Ping, PingPong};
use tokio::time::{Instant, Sleep};

use super::http2::Http2;
use super::stream::Stream;
use crate::clock;

/// The times of PINGs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PingTimes {
    /// The silence before a PING, while requests are in flight.
    pub(crate) after: Duration,
    /// How long the reply may take.
    pub(crate) within: Duration,
}

/// The state that a connection's task compares between two steps.
pub(super) struct Monitor {
    pings: PingTimes,
    ping_pong: Option<PingPong>,
    /// The number of bytes that had come at the last check.
    heard: u64,
    /// The number of checks since then without another byte.
    silences: u32,
    /// Whether a PING waits for its reply.
    is_asked: bool,
    /// The number of PINGs since the last frame of a response.
    asked: u32,
    /// The number of leased streams, and the maximum.
    seen: (usize, usize),
}

impl Monitor {
    pub(super) fn new(pings: PingTimes, ping_pong: Option<PingPong>) -> Self {
        Self {
            pings,
            ping_pong,
            heard: 0,
            silences: 0,
            is_asked: false,
            asked: 0,
            seen: (0, 0),
        }
    }

    /// Notifies the pool if the number of free streams has changed. Sets the timer when requests begin to wait.
    pub(super) fn note(
        &mut self,
        connection: &Http2,
        driven: &Connection<Stream, Bytes>,
        alarm: Pin<&mut Sleep>,
    ) {
        let leased = connection.leased.load(Ordering::SeqCst);
        let now_seen = (leased, driven.max_concurrent_send_streams());
        let before = std::mem::replace(&mut self.seen, now_seen);
        if before == now_seen {
            return;
        }
        if (before.0 == 0) != (now_seen.0 == 0) {
            self.heard = connection.life.socket.read();
            (self.is_asked, self.silences) = (false, 0);
            alarm.reset(match now_seen.0 {
                0 => connection.life.idle_until(),
                _ => clock::now() + self.pings.after / LOOKS,
            });
        }
        if before.1 != now_seen.1
            && let Some(home) = connection.home.upgrade()
        {
            home.changed();
        }
    }

    /// Handles the timer. Returns when it fires again; `None` if the peer is gone.
    pub(super) fn ask(&mut self, connection: &Http2) -> Option<Instant> {
        let now = clock::now();
        if self.seen.0 == 0 {
            let until = connection.life.idle_until();
            if now < until {
                return Some(until);
            }
            connection.close();
            return Some(now + self.pings.after);
        }
        let heard = connection.life.socket.read();
        let is_silent = std::mem::replace(&mut self.heard, heard) == heard;
        if !is_silent {
            (self.is_asked, self.silences) = (false, 0);
            return Some(now + self.pings.after / LOOKS);
        }
        if self.is_asked {
            return None;
        }
        self.silences += 1;
        if connection.has_responded.swap(false, Ordering::Relaxed) {
            self.asked = 0;
        }
        if self.silences < LOOKS || self.asked == MOST_PINGS {
            return Some(now + self.pings.after / LOOKS);
        }
        let ping = self.ping_pong.as_mut()?;
        self.is_asked = true;
        self.asked += 1;
        // A second PING cannot be sent before the first one has its reply, so the connection waits for that one.
        let _ = ping.send_ping(Ping::opaque());
        Some(now + self.pings.within)
    }

    /// Takes the reply to a PING, so that another one may be sent. Its bytes were already counted.
    pub(super) fn drain(&mut self, cx: &mut Context<'_>) {
        if let Some(ping) = &mut self.ping_pong {
            while let Poll::Ready(Ok(_)) = ping.poll_pong(cx) {}
        }
    }
}

/// The number of checks before a connection counts as silent: the silence may have begun after the last check.
const LOOKS: u32 = 4;
/// gRPC's servers close a connection at the third early PING since their last HEADERS or DATA, also while requests are in
/// flight. From then on the kernel watches the peer.
const MOST_PINGS: u32 = 2;
