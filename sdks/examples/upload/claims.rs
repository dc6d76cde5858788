//! The claims on the uploads, compared with the bucket's books and the timelines.

use std::time::Duration;

use bytes::Bytes;
use sevenhops::hop::{Outcome, StageOutcome};
use sevenhops::{Effect, Hop, Kind, sdk};

use crate::stack::{ATTEMPT, DEADLINE, STALL};
use crate::{Ours, PATIENCE, Plain, Upload};

/// Each claim, and whether it holds.
pub(crate) fn claims(object: &Bytes, ours: &Ours, plain: &Plain) -> Vec<(String, bool)> {
    let Ours {
        reset,
        lost,
        stalled,
        broken,
    } = ours;
    let is_whole = |upload: &Upload, times: usize| {
        let all = upload.stored.iter().all(|stored| stored == object);
        upload.error.is_none() && all && upload.stored.len() == times
    };
    let reset_while_sent = (Some(Hop::Send), Kind::Reset, Effect::Possible);
    let answer_lost = (Some(Hop::Server), Kind::Closed, Effect::Possible);
    let stalled_while_sent = (Some(Hop::Send), Kind::Timeout, Effect::Possible);
    let declined = (Some(Hop::Server), Kind::Unavailable, Effect::Possible);
    let named = failures(reset) == [reset_while_sent]
        && failures(lost) == [answer_lost]
        && failures(stalled) == [stalled_while_sent]
        && failures(broken) == [reset_while_sent, reset_while_sent, declined];
    let hasty = plain
        .hasty
        .error
        .as_ref()
        .map(|error| sdk::classify_error(error));
    [
        (
            "a reset connection: the object is whole and stored once",
            is_whole(reset, 1),
        ),
        (
            "a lost response: both times the same object",
            is_whole(lost, 2),
        ),
        (
            "a stalled part: the object is whole and stored once",
            is_whole(stalled, 1),
        ),
        (
            "every failure is named by its hop, its kind and its effect",
            named,
        ),
        (
            "a PUT that failed is made once more, and no other",
            (reset.puts, lost.puts, stalled.puts) == (2, 2, PARTS + 1),
        ),
        (
            "three PUTs and no more, where nothing helps; nothing is stored",
            (broken.puts, broken.stored.len()) == (3, 0) && broken.error.is_some(),
        ),
        (
            "every wait ended within its limit",
            all(ours).into_iter().all(in_time),
        ),
        (
            "as it comes: it still waits for the stalled part when ours has long been whole",
            plain.patient.is_none() && stalled.took < PATIENCE,
        ),
        (
            "and told to give up: no object, and no hop in its error",
            plain.hasty.stored.is_empty() && hasty.is_some_and(|found| found.hop().is_none()),
        ),
    ]
    .map(|(claim, holds)| (claim.to_owned(), holds))
    .into()
}

fn all(ours: &Ours) -> [&Upload; 4] {
    [&ours.reset, &ours.lost, &ours.stalled, &ours.broken]
}

/// How an attempt failed.
type Told = (Option<Hop>, Kind, Effect);

fn failures(upload: &Upload) -> Vec<Told> {
    let attempts = upload
        .timelines
        .iter()
        .flat_map(|timeline| timeline.attempts());
    let failed = attempts.filter_map(|attempt| match attempt.outcome() {
        Outcome::Failed {
            hop, kind, effect, ..
        } => Some((hop, kind, effect)),
        _ => None,
    });
    failed.collect()
}

fn in_time(upload: &Upload) -> bool {
    upload.timelines.iter().all(|call| {
        let attempts = call.attempts();
        let mut rows = attempts.iter().flat_map(|attempt| attempt.stages());
        call.elapsed() <= DEADLINE + LATE
            && attempts
                .iter()
                .all(|attempt| attempt.duration() <= ATTEMPT + LATE)
            && rows.all(|row| match row.outcome() {
                StageOutcome::Failed(Kind::Timeout) => row.duration() <= STALL + LATE,
                _ => true,
            })
    })
}

/// Two of them whole.
const PARTS: usize = 3;
/// The delay that a busy machine may add.
const LATE: Duration = Duration::from_secs(1);
