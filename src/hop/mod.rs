//! The places where a call can fail, the nine [`Hop`]s, and the facts about a failure.
//!
//! ```text
//!  your code │ 1 dns │ 2 connect │ 3 tls │ 4 send │ 5 gateway │ 6 server │ 7 receive │ your code
//!   encode ──┘                                                                       └── decode
//! ```

mod catalog;
mod cause;
mod diagnosis;
mod event;
mod explanation;
mod failure_class;
pub(crate) mod fault;
mod kind;
pub(crate) mod latency;
mod local;
mod no_hedge;
mod outcome;
pub(crate) mod policy;
mod server_report;
mod stage;
mod status;
mod tls_session;

use std::fmt;

pub use self::catalog::{FailureSpec, Retryability, failure_catalog};
pub use self::diagnosis::Effect;
pub use self::event::{NoRetryReason, TimelineEvent, TimelineEventKind};
pub use self::explanation::Explanation;
pub use self::failure_class::FailureClass;
pub use self::kind::{Blame, Kind};
pub use self::no_hedge::NoHedgeReason;
pub use self::outcome::Outcome;
pub use self::server_report::{ProxyStatus, ServerReport, ServerTiming};
pub use self::stage::Stage;
#[cfg(feature = "har")]
pub use crate::timeline::Har;
pub use crate::timeline::{Attempt, StageOutcome, StageTiming, Timeline, Waterfall};

pub(crate) use self::catalog::name;
pub(crate) use self::cause::{BodyFailed, TimeoutElapsed};
#[cfg(feature = "client")]
pub(crate) use self::cause::{
    HeadRefused, RuntimeGone, SocketFailed, TunnelRefused, Unacknowledged, Unmade,
};
pub(crate) use self::diagnosis::Diagnosis;
pub(crate) use self::event::short;
pub(crate) use self::fault::{Fault, InjectedFault};
pub(crate) use self::latency::Latency;
pub(crate) use self::local::{is_shown, local};
pub(crate) use self::policy::Policy;
#[cfg(feature = "client")]
pub(crate) use self::status::author_of;
pub(crate) use self::status::{
    Keyed, effect_of_failed_success, effect_of_grpc, effect_of_response, grpc_code, is_failure,
    is_grpc, judge,
};
pub(crate) use self::tls_session::TlsSession;

/// A stage of an attempt at which it can fail: seven network hops between two local ends.
///
/// Exhaustive on purpose: a `match` on it is a complete list of the places where a call can fail.
/// [`Gateway`](Self::Gateway) and [`Server`](Self::Server) share the time from the last request byte to the response
/// head. The response shows which of the two failed.
#[expect(
    clippy::exhaustive_enums,
    reason = "a complete list is the point of it"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hop {
    /// The client could not encode the request.
    Encode,
    /// The name had no usable address.
    Dns,
    /// No TCP connection was established.
    Connect,
    /// No TLS session was established.
    Tls,
    /// The request was not sent completely.
    Send,
    /// A middlebox responded in place of the service, with a failure.
    Gateway,
    /// The service refused, failed or sent no response.
    Server,
    /// The response broke off.
    Receive,
    /// The client could not decode the response.
    Decode,
}

impl Hop {
    /// All hops, in the order of a call.
    pub const ALL: [Self; 9] = [
        Self::Encode,
        Self::Dns,
        Self::Connect,
        Self::Tls,
        Self::Send,
        Self::Gateway,
        Self::Server,
        Self::Receive,
        Self::Decode,
    ];

    /// Returns its name in spans, errors and timelines.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Encode => "encode",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Send => "send",
            Self::Gateway => "gateway",
            Self::Server => "server",
            Self::Receive => "receive",
            Self::Decode => "decode",
        }
    }

    /// Returns its number among the seven network hops; `None` for the two local ends.
    #[must_use]
    pub const fn number(self) -> Option<u8> {
        match self {
            Self::Encode | Self::Decode => None,
            Self::Dns => Some(1),
            Self::Connect => Some(2),
            Self::Tls => Some(3),
            Self::Send => Some(4),
            Self::Gateway => Some(5),
            Self::Server => Some(6),
            Self::Receive => Some(7),
        }
    }
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seven_hops_are_numbered_in_the_order_of_the_journey() {
        let numbers: Vec<_> = Hop::ALL.into_iter().filter_map(Hop::number).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7]);
        assert!(Hop::ALL.is_sorted());
    }

    #[test]
    fn readme_lists_the_hops_in_the_order_of_the_journey() {
        let readme = include_str!("../../README.md");
        let table = readme.split("## The hops").nth(1).unwrap();
        let listed: Vec<_> = table
            .lines()
            .filter(|line| line.starts_with("| ") && !line.starts_with("| hop"))
            .take(Hop::ALL.len())
            .map(|line| line.split('|').nth(1).unwrap().trim().to_owned())
            .collect();
        let expected = Hop::ALL.map(|hop| match hop.number() {
            Some(number) => format!("{number} {hop}"),
            None => hop.to_string(),
        });
        assert_eq!(listed, expected);
    }
}
