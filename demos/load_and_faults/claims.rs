//! The claims on the policies, and their measures.

use crate::run::Report;
use crate::stack::Stack;
use crate::world::Trouble;

/// A sentence about the runs, and whether it is true.
pub(crate) struct Claim {
    pub(crate) text: &'static str,
    pub(crate) measured: String,
    pub(crate) holds: bool,
}

/// Returns all claims.
pub(crate) fn claims(reports: &[Report]) -> Vec<Claim> {
    let of = |stack, trouble| {
        let mut all = reports.iter();
        all.find(|report| report.stack == stack && report.trouble == trouble)
    };
    let mut claims = vec![full_is_no_worse(reports)];
    let measured =
        |stack, trouble, measure: fn(&Report) -> f64| of(stack, trouble).map_or(f64::NAN, measure);
    let requests = measured(Stack::Full, Trouble::All500, |report| report.requests);
    claims.push(Claim {
        text: "in an outage the full stack sends at most 1.2 requests for each call",
        measured: format!("{requests:.3}"),
        holds: requests <= 1.2,
    });
    let p99 = |stack| measured(stack, Trouble::SlowNode, |report| report.p99.as_secs_f64());
    let of_p99 = p99(Stack::Hedge) / p99(Stack::Budget);
    let requests = measured(Stack::Hedge, Trouble::SlowNode, |report| report.requests);
    claims.push(Claim {
        text: "a hedge makes the p99 of a slow node at most 0.3 of it, for at most 5 % more requests",
        measured: format!("{of_p99:.2} of it, {requests:.3} requests for each call"),
        holds: of_p99 <= 0.3 && requests <= 1.05,
    });
    let share = |stack| measured(stack, Trouble::RateLimit, |report| report.succeeded);
    let (with, without) = (share(Stack::Throttle), share(Stack::Nothing));
    let sent = |stack| measured(stack, Trouble::RateLimit, |report| report.requests);
    let (fewer, before) = (sent(Stack::Throttle), sent(Stack::Budget));
    claims.push(Claim {
        text: "at a rate limit the throttle sends fewer requests, and at most 0.5 % fewer calls succeed than without middleware",
        measured: format!(
            "{fewer:.2} requests for each call instead of {before:.2}, {:.1} % succeed instead of {:.1} %",
            with * 100.0,
            without * 100.0
        ),
        holds: fewer < before && with >= without - 0.005,
    });
    let share = |stack| measured(stack, Trouble::Overload, |report| report.succeeded);
    let (with, without) = (share(Stack::Throttle), share(Stack::Budget));
    claims.push(Claim {
        text: "where rejections cost the service, twice as many calls succeed with the throttle",
        measured: format!("{:.1} % instead of {:.1} %", with * 100.0, without * 100.0),
        holds: with >= 2.0 * without,
    });
    let wasted = |stack| measured(stack, Trouble::BigSpike, |report| report.wasted);
    let (with, without) = (wasted(Stack::Limiter), wasted(Stack::Retry));
    claims.push(Claim {
        text: "in a spike the limit keeps the service from work for callers who have left",
        measured: format!(
            "{:.1} % wasted instead of {:.1} %",
            with * 100.0,
            without * 100.0
        ),
        holds: with < 0.02 && with < without,
    });
    claims
}

/// All policies together are at most two hundredths worse than the best single one.
fn full_is_no_worse(reports: &[Report]) -> Claim {
    let short = Trouble::ALL.map(|trouble| {
        let of = |is_wanted: fn(Stack) -> bool| {
            let all = reports
                .iter()
                .filter(move |report| report.trouble == trouble);
            let wanted = all.filter(move |report| is_wanted(report.stack));
            wanted
                .map(|report| report.succeeded)
                .fold(f64::NAN, f64::max)
        };
        let best = of(|stack| stack != Stack::Full);
        (best - of(|stack| stack == Stack::Full), trouble)
    });
    let worst = short
        .into_iter()
        .max_by(|(one, _), (other, _)| one.total_cmp(other));
    let (worst, at) = worst.unwrap_or((f64::NAN, Trouble::SlowNode));
    Claim {
        text: "no single policy succeeds more often than the full stack by more than 2 %",
        measured: format!("at most by {:.1} %, with the {}", worst * 100.0, at.name()),
        holds: worst <= 0.02,
    }
}
