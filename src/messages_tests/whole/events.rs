//! The events of a timeline, and the reasons in them.

use std::time::Duration;

use http::{Method, StatusCode};

use super::Section;
use crate::hop::Blame;
use crate::hop::{
    Effect, Explanation, Fault, Hop, Kind, Latency, NoHedgeReason, NoRetryReason, Outcome, Policy,
    Stage, TimelineEventKind, failure_catalog,
};
use crate::options::Priority;

pub(super) fn sections() -> Vec<Section> {
    let faults = FAULTS.map(|fault| fault.to_string()).into();
    vec![
        ("TimelineEventKind FailureText", events()),
        ("NoRetryReason", no_retry()),
        ("NoHedgeReason", no_hedge()),
        ("Fault", faults),
        ("Stage", Stage::ALL.map(|stage| stage.to_string()).into()),
        ("Hop", Hop::ALL.map(|hop| hop.to_string()).into()),
        (
            "Blame",
            [Blame::Client, Blame::Network, Blame::Server]
                .map(|blame| blame.to_string())
                .into(),
        ),
        (
            "Priority",
            Priority::ALL.map(|priority| priority.to_string()).into(),
        ),
        ("Explanation", explanations()),
    ]
}

const POLICIES: [Policy; 7] = [
    Policy::Deadline,
    Policy::Idempotency,
    Policy::Redirect,
    Policy::Throttle,
    Policy::Breaker,
    Policy::Concurrency,
    Policy::RateLimit,
];

const DELAY: Duration = Duration::from_millis(250);

const FAULTS: [Fault; 8] = [
    Fault::RefuseConnect,
    Fault::BlackholeConnect,
    Fault::BreakConnection,
    Fault::unavailable(),
    Fault::Delay(Latency::between(DELAY, DELAY)),
    Fault::DropResponse,
    Fault::Silence,
    Fault::BreakBody,
];

fn failed(hop: Option<Hop>) -> Outcome {
    Outcome::Failed {
        hop,
        kind: Kind::Timeout,
        effect: Effect::Possible,
        timeout_kind: None,
        status: None,
    }
}

fn events() -> Vec<String> {
    use TimelineEventKind::{
        CallerRetry, Chaos, FailedOver, Fallback, Hedged, LocalShare, NotHedged, Queued,
        Redirected, Rejected, Replayed, Stale, Waited,
    };

    let url = || "https://eu.api.test/v1".to_owned();
    let (wait, age) = (DELAY, Duration::from_secs(5));
    let stale = |instead_of| Stale { age, instead_of };
    let queued = |policy| Queued { policy, wait };
    let mut all = vec![
        Waited {
            wait,
            hinted: false,
        },
        Waited { wait, hinted: true },
        Redirected {
            status: StatusCode::FOUND,
            url: url(),
        },
        FailedOver { url: url() },
        Replayed,
        CallerRetry { number: 2 },
        queued(Policy::Concurrency),
        queued(Policy::RateLimit),
        LocalShare,
        Hedged { after: DELAY },
        NotHedged(NoHedgeReason::Session),
        stale(None),
        stale(Some(failed(Some(Hop::Server)))),
        stale(Some(failed(None))),
        Fallback {
            instead_of: failed(Some(Hop::Server)),
        },
    ];
    all.extend(POLICIES.map(Rejected));
    all.extend(FAULTS.map(|fault| Chaos {
        fault,
        delay: matches!(fault, Fault::Delay(_)).then_some(DELAY),
    }));
    all.iter().map(ToString::to_string).collect()
}

fn no_retry() -> Vec<String> {
    use NoRetryReason::{
        AttemptsExhausted, BodyNotReplayable, BudgetExhausted, DeadlineTooClose, Disabled,
        HintTooLong, KeyExpiring, NotIdempotent, OtherDestination, Permanent, Rejected,
        RetriedUpstream, ServerOptOut, ServiceNotReady,
    };

    let not_idempotent = |method, keyed| NotIdempotent {
        method,
        effect: Effect::Possible,
        keyed,
    };
    let left = Duration::from_secs(1);
    let mut all = vec![
        Permanent,
        not_idempotent(Some(Method::POST), false),
        not_idempotent(Some(Method::POST), true),
        not_idempotent(None, false),
        not_idempotent(None, true),
        KeyExpiring { left },
        ServiceNotReady,
        BodyNotReplayable,
        AttemptsExhausted { made: 1 },
        AttemptsExhausted { made: 3 },
        BudgetExhausted,
        DeadlineTooClose { wait: DELAY, left },
        HintTooLong {
            hint: left,
            most: DELAY,
        },
        ServerOptOut,
        Disabled,
        OtherDestination,
        RetriedUpstream,
    ];
    all.extend(POLICIES.map(Rejected));
    all.iter().map(ToString::to_string).collect()
}

fn no_hedge() -> Vec<String> {
    use NoHedgeReason::{
        AttemptsSpent, BudgetEmpty, ByCaller, HalfOpen, KeyExpires, NotReplayable, OneAddress,
        OtherDestination, Rejected, Session, ShareSpent, SwitchedOff, Throttled, Unready, Unsafe,
    };

    let not_safe = |keyed| Unsafe {
        method: Method::POST,
        keyed,
    };
    let mut all = vec![
        not_safe(false),
        not_safe(true),
        KeyExpires {
            left: Duration::from_secs(1),
        },
        NotReplayable,
        AttemptsSpent { sent: 1 },
        AttemptsSpent { sent: 3 },
        Throttled,
        HalfOpen,
        Session,
        OneAddress,
        ShareSpent,
        BudgetEmpty,
        Unready,
        SwitchedOff,
        OtherDestination,
        ByCaller,
    ];
    all.extend(POLICIES.map(Rejected));
    all.iter().map(ToString::to_string).collect()
}

/// docs/errors.md has all of them. Here are the form and the effects.
fn explanations() -> Vec<String> {
    let of_call = Effect::Possible;
    let first = Explanation::of_rejection(Kind::CircuitOpen, Effect::None);
    let unseen = Explanation::of_operation(Kind::Other, of_call);
    let unready = Explanation::without_hop(false, Kind::Other, Effect::None);
    let mut effects: Vec<_> = failure_catalog()
        .iter()
        .map(|row| Explanation::of_failure(row.hop, row.kind, of_call).effect())
        .collect();
    effects.sort_unstable();
    effects.dedup();
    let effects = effects.into_iter().map(str::to_owned);
    [first, unseen, unready]
        .map(|explanation| explanation.to_string())
        .into_iter()
        .chain(effects)
        .collect()
}
