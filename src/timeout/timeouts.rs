use std::time::Duration;

use super::config::{ATTEMPT, TimeoutsConfig};
use super::{LONGEST, TimeoutKind, check_deadline};
use crate::config_error::{ConfigError, expected};

/// All timeouts of a call. Each is finite, and each is derived from the deadline unless it was set.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::{Timeouts, TimeoutsConfig};
///
/// let timeouts = Timeouts::new(Duration::from_secs(10))?;
/// assert_eq!(timeouts.attempt(), Duration::from_secs(5));
/// assert_eq!(timeouts.connect(), Duration::from_millis(2_500));
///
/// let too_long = TimeoutsConfig::new().connect(Duration::from_secs(7));
/// let refused = Timeouts::from_config(Duration::from_secs(10), too_long).unwrap_err();
/// assert_eq!(refused.to_string(), "timeouts.connect: 7s is invalid: expected at most timeouts.attempt (5s)");
/// # Ok::<(), sevenhops::ConfigError>(())
/// ```
///
/// # Defaults
///
/// D is the deadline of the config, A the attempt timeout.
///
/// | timeout | default | counts |
/// |---|---|---|
/// | attempt | D / 2 while another attempt may follow | one try without progress, to the response head (to the last byte for whole-body calls) |
/// | dns | min(2 s, A / 2) | one lookup that is not answered from the cache |
/// | connect | min(3 s, A / 2) | TCP, over all addresses of the name |
/// | tls | min(3 s, A / 2) | one handshake |
/// | send | min(5 s, A / 2) | no progress while sending |
/// | first byte | A | from the last request byte to the response head |
/// | body idle | min(10 s, A) | between two pieces of the response body |
///
/// A derived attempt timeout follows the time left at the start of the attempt, and the whole time of the call. That is
/// D, or the deadline in the request's options. If the call runs inside another call or an operation, that one can only
/// shorten the time. If another attempt may follow, that one keeps a quarter of the whole time, or half of the time left
/// if that is less. The attempt gets the rest, at most half of the whole time. If no other attempt may follow, the
/// attempt gets all of the time left. "May follow" depends on fixed facts: switches, the number of attempts, whether a
/// retry is permitted, whether the body can be sent again. The other derived timeouts follow the attempt timeout.
///
/// An attempt timeout that was set counts from the start of the attempt, even while bytes move, and is the same for
/// all attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    deadline: Duration,
    attempt: Duration,
    dns: Duration,
    connect: Duration,
    tls: Duration,
    send: Duration,
    first_byte: Duration,
    body_idle: Duration,
    explicit: TimeoutsConfig,
    /// The attempt timeout before a request's own deadline shortened it.
    configured_attempt: Duration,
}

impl Timeouts {
    /// Derives every timeout from the deadline of the whole call.
    ///
    /// # Errors
    ///
    /// Fails if `deadline` is shorter than 10 ms or longer than 24 h.
    pub fn new(deadline: Duration) -> Result<Self, ConfigError> {
        Self::from_config(deadline, TimeoutsConfig::new())
    }

    /// Returns the timeouts of the longest deadline.
    pub(crate) fn longest() -> Self {
        Self::derive(LONGEST, TimeoutsConfig::new())
    }

    /// Derives the timeouts that `settings` do not set from the deadline.
    ///
    /// # Errors
    ///
    /// Fails if a timeout is zero or longer than a day, or if the attempt timeout is longer than the deadline. Also
    /// fails if a hop's timeout is longer than the attempt timeout. The error names both.
    pub fn from_config(deadline: Duration, settings: TimeoutsConfig) -> Result<Self, ConfigError> {
        check_deadline("deadline", deadline)?;
        for (path, value) in settings.named() {
            if let Some(value) = value {
                expected::wait(path, value)?;
            }
        }
        let timeouts = Self::derive(deadline, settings);
        timeouts.check()?;
        Ok(timeouts)
    }

    /// Returns the timeouts of one attempt with this time left of the call's whole time. Timeouts that were set do not
    /// change, because the time left ends the attempt before them.
    pub(crate) fn for_attempt(
        &self,
        (left, whole): (Duration, Duration),
        may_follow: bool,
    ) -> Self {
        let share = match may_follow {
            true => left
                .saturating_sub(whole / 4)
                .clamp(left / 2, (whole / 2).max(left / 2)),
            false => left,
        };
        let attempt = self.explicit.attempt.unwrap_or(share);
        Self {
            configured_attempt: self.configured_attempt,
            ..Self::with_attempt(self.deadline, derived(attempt), self.explicit)
        }
    }

    fn derive(deadline: Duration, explicit: TimeoutsConfig) -> Self {
        let attempt = explicit.attempt.unwrap_or_else(|| deadline / 2);
        Self::with_attempt(deadline, derived(attempt), explicit)
    }

    fn with_attempt(deadline: Duration, attempt: Duration, explicit: TimeoutsConfig) -> Self {
        let or = |set: Option<Duration>, default: Duration| derived(set.unwrap_or(default));
        let a = attempt;
        Self {
            deadline,
            attempt,
            dns: or(explicit.dns, DNS.min(a / 2)),
            connect: or(explicit.connect, CONNECT.min(a / 2)),
            tls: or(explicit.tls, TLS.min(a / 2)),
            send: or(explicit.send, SEND.min(a / 2)),
            first_byte: or(explicit.first_byte, a),
            body_idle: or(explicit.body_idle, BODY_IDLE.min(a)),
            explicit,
            configured_attempt: attempt,
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.attempt > self.deadline {
            return Err(ConfigError::longer(
                (ATTEMPT, self.attempt),
                ("deadline", self.deadline),
            ));
        }
        let hops = [
            ("timeouts.dns", self.dns),
            ("timeouts.connect", self.connect),
            ("timeouts.tls", self.tls),
            ("timeouts.send", self.send),
            ("timeouts.first_byte", self.first_byte),
            ("timeouts.body_idle", self.body_idle),
        ];
        match hops
            .into_iter()
            .find(|(_, timeout)| *timeout > self.attempt)
        {
            Some((path, timeout)) => Err(ConfigError::longer(
                (path, timeout),
                (ATTEMPT, self.attempt),
            )),
            None => Ok(()),
        }
    }

    /// Returns the longest time between two pieces of a body that no other attempt can follow, in a call with this time
    /// left.
    pub(crate) fn body_idle_within(&self, left: Duration) -> Duration {
        self.explicit.body_idle.unwrap_or(BODY_IDLE).min(left)
    }

    /// Returns whether the attempt timeout was set and does not follow the time left.
    pub(crate) const fn has_attempt(&self) -> bool {
        self.explicit.attempt.is_some()
    }

    /// Returns whether the first-byte timeout was set.
    pub(crate) const fn has_first_byte(&self) -> bool {
        self.explicit.first_byte.is_some()
    }

    /// Returns the attempt timeout without a request's own deadline.
    pub(crate) const fn configured_attempt(&self) -> Duration {
        self.configured_attempt
    }

    /// Returns whether the timeout of a hop was set explicitly and is not shortened.
    pub(crate) fn is_explicit(&self, which: TimeoutKind) -> bool {
        let (set, timeout) = match which {
            TimeoutKind::Deadline | TimeoutKind::Attempt => return false,
            TimeoutKind::Dns => (self.explicit.dns, self.dns),
            TimeoutKind::Connect => (self.explicit.connect, self.connect),
            TimeoutKind::Tls => (self.explicit.tls, self.tls),
            TimeoutKind::Send => (self.explicit.send, self.send),
            TimeoutKind::FirstByte => (self.explicit.first_byte, self.first_byte),
            TimeoutKind::BodyIdle => (self.explicit.body_idle, self.body_idle),
        };
        set == Some(timeout)
    }

    /// Returns the timeout for the response head. It counts from the moment at which the last byte of a body of
    /// `body_len` bytes was handed over.
    ///
    /// "Handed over" does not mean "on the wire": the kernel buffers about 4 MiB before the peer has read any byte. So
    /// the timeout grows by up to one send timeout, in proportion to the buffered bytes.
    pub(crate) fn first_byte_after(&self, body_len: u64) -> Duration {
        let buffered = body_len.min(KERNEL_BUFFER_BYTES);
        let share = f64::from(u32::try_from(buffered).unwrap_or(u32::MAX))
            / f64::from(u32::try_from(KERNEL_BUFFER_BYTES).unwrap_or(u32::MAX));
        self.first_byte + self.send.mul_f64(share)
    }

    /// Returns the time for the whole call, to the last byte of the response body.
    #[must_use]
    pub const fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Returns the time for one attempt.
    #[must_use]
    pub const fn attempt(&self) -> Duration {
        self.attempt
    }

    /// Returns the time for a DNS lookup.
    #[must_use]
    pub const fn dns(&self) -> Duration {
        self.dns
    }

    /// Returns the time for a TCP connection, over all addresses.
    #[must_use]
    pub const fn connect(&self) -> Duration {
        self.connect
    }

    /// Returns the time for a TLS handshake.
    #[must_use]
    pub const fn tls(&self) -> Duration {
        self.tls
    }

    /// Returns the time without progress while the request is sent.
    #[must_use]
    pub const fn send(&self) -> Duration {
        self.send
    }

    /// Returns the time from the last request byte to the response head.
    #[must_use]
    pub const fn first_byte(&self) -> Duration {
        self.first_byte
    }

    /// Returns the time without a byte of the response body.
    #[must_use]
    pub const fn body_idle(&self) -> Duration {
        self.body_idle
    }
}

/// Returns a timeout that was derived from another one. Only rounding can move it out of range.
fn derived(timeout: Duration) -> Duration {
    timeout.clamp(Duration::from_nanos(1), LONGEST)
}

/// Allows two tries of one second each.
const DNS: Duration = Duration::from_secs(2);
/// Allows one more SYN (after one second).
const CONNECT: Duration = Duration::from_secs(3);
/// Allows one retransmission of a flight.
const TLS: Duration = Duration::from_secs(3);
/// After this time without progress the peer counts as dead.
const SEND: Duration = Duration::from_secs(5);
/// Longer than the pause of a garbage collector on the server.
const BODY_IDLE: Duration = Duration::from_secs(10);
/// The number of bytes of a request that a kernel buffers before its peer reads any (measured on Linux loopback).
const KERNEL_BUFFER_BYTES: u64 = 4 << 20;

#[cfg(test)]
#[path = "timeouts_tests.rs"]
mod tests;
