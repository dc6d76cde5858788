use std::time::Duration;

/// The timeouts that a user set. The others are derived from the deadline.
///
/// These are plain values. They are checked once, by [`Timeouts::from_config`](super::Timeouts::from_config) or when a
/// client is built. In the config of a destination, a timeout that is not set is that of the config around it.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::{Config, TimeoutsConfig};
///
/// let timeouts = TimeoutsConfig::new()
///     .connect(Duration::from_secs(1))
///     .body_idle(Duration::from_secs(5));
/// let config = Config::new(Duration::from_secs(10)).timeouts(timeouts);
/// assert_eq!(config.get_timeouts().get_connect(), Some(Duration::from_secs(1)));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct TimeoutsConfig {
    #[cfg_attr(
        feature = "serde",
        serde(
            with = "crate::serde_forms::optional_duration",
            skip_serializing_if = "Option::is_none"
        )
    )]
    pub(super) attempt: Option<Duration>,
    #[cfg_attr(
        feature = "serde",
        serde(
            with = "crate::serde_forms::optional_duration",
            skip_serializing_if = "Option::is_none"
        )
    )]
    pub(super) dns: Option<Duration>,
    #[cfg_attr(
        feature = "serde",
        serde(
            with = "crate::serde_forms::optional_duration",
            skip_serializing_if = "Option::is_none"
        )
    )]
    pub(super) connect: Option<Duration>,
    #[cfg_attr(
        feature = "serde",
        serde(
            with = "crate::serde_forms::optional_duration",
            skip_serializing_if = "Option::is_none"
        )
    )]
    pub(super) tls: Option<Duration>,
    #[cfg_attr(
        feature = "serde",
        serde(
            with = "crate::serde_forms::optional_duration",
            skip_serializing_if = "Option::is_none"
        )
    )]
    pub(super) send: Option<Duration>,
    #[cfg_attr(
        feature = "serde",
        serde(
            with = "crate::serde_forms::optional_duration",
            skip_serializing_if = "Option::is_none"
        )
    )]
    pub(super) first_byte: Option<Duration>,
    #[cfg_attr(
        feature = "serde",
        serde(
            with = "crate::serde_forms::optional_duration",
            skip_serializing_if = "Option::is_none"
        )
    )]
    pub(super) body_idle: Option<Duration>,
}

macro_rules! setters_and_getters {
    ($($(#[$doc:meta])* $field:ident, $get:ident;)*) => {$(
        $(#[$doc])*
        #[must_use]
        pub const fn $field(mut self, timeout: Duration) -> Self {
            self.$field = Some(timeout);
            self
        }

        #[doc = concat!("Returns [`", stringify!($field), "`](Self::", stringify!($field), "), if it was set. ")]
        /// By default it follows from the deadline: see [`Timeouts`](super::Timeouts).
        #[must_use]
        pub const fn $get(&self) -> Option<Duration> {
            self.$field
        }
    )*};
}

impl TimeoutsConfig {
    /// Creates a config in which every timeout follows from the deadline.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            attempt: None,
            dns: None,
            connect: None,
            tls: None,
            send: None,
            first_byte: None,
            body_idle: None,
        }
    }

    setters_and_getters! {
        /// Sets the time for one attempt: more than 0, at most the deadline. By default it is half of the deadline while
        /// another attempt may follow, else all of the time left.
        attempt, get_attempt;
        /// Sets the time for a DNS lookup: more than 0, at most the attempt timeout. The default is 2 s, or half of the
        /// attempt timeout if that is shorter.
        dns, get_dns;
        /// Sets the time to a TCP connection, over all addresses: more than 0, at most the attempt timeout. The default
        /// is 3 s, or half of the attempt timeout if that is shorter.
        connect, get_connect;
        /// Sets the time for a TLS handshake: more than 0, at most the attempt timeout. The default is 3 s, or half of
        /// the attempt timeout if that is shorter.
        tls, get_tls;
        /// Sets the time without progress while the request is being sent: more than 0, at most the attempt timeout. The
        /// default is 5 s, or half of the attempt timeout if that is shorter.
        send, get_send;
        /// Sets the time from the last request byte to the response head: more than 0, at most the attempt timeout. The
        /// default is the attempt timeout.
        first_byte, get_first_byte;
        /// Sets the time without a byte of the response body: more than 0, at most the attempt timeout. The default is
        /// 10 s, or the attempt timeout if that is shorter.
        body_idle, get_body_idle;
    }

    /// Returns these timeouts. A missing one is taken from the config around this one.
    pub(crate) fn over(self, around: &Self) -> Self {
        Self {
            attempt: self.attempt.or(around.attempt),
            dns: self.dns.or(around.dns),
            connect: self.connect.or(around.connect),
            tls: self.tls.or(around.tls),
            send: self.send.or(around.send),
            first_byte: self.first_byte.or(around.first_byte),
            body_idle: self.body_idle.or(around.body_idle),
        }
    }

    pub(super) fn named(&self) -> [(&'static str, Option<Duration>); 7] {
        [
            (ATTEMPT, self.attempt),
            ("timeouts.dns", self.dns),
            ("timeouts.connect", self.connect),
            ("timeouts.tls", self.tls),
            ("timeouts.send", self.send),
            ("timeouts.first_byte", self.first_byte),
            ("timeouts.body_idle", self.body_idle),
        ]
    }
}

pub(super) const ATTEMPT: &str = "timeouts.attempt";
