//! Settles the mails that failed. Those that had no effect are sent again. Those that may have gone out are looked up, and
//! only those that did not go out are sent again.

use sevenhops::Effect;

use crate::Result;
use crate::caller::{Belief, Caller, Outcome, went_out};

/// One round.
pub(crate) struct Round {
    /// How many mails were uncertain.
    pub(crate) in_doubt: usize,
    /// How many of them had gone out; the others were sent again.
    pub(crate) had_gone_out: usize,
}

/// Sends the unsent mails again, and settles the uncertain ones, until none is left.
pub(crate) async fn settle(caller: &Caller, url: &str, beliefs: &[Belief]) -> Result<Vec<Round>> {
    let mut rounds = Vec::new();
    let mut doubtful = in_doubt(beliefs);
    let unsent = with_effect(beliefs, Effect::None);
    doubtful.extend(in_doubt(&caller.send(url, unsent.into_iter()).await));
    while !doubtful.is_empty() {
        if rounds.len() == MOST_ROUNDS {
            return Err("mails are still in doubt".into());
        }
        let mut again = Vec::new();
        for mail in &doubtful {
            if !went_out(caller, url, *mail).await? {
                again.push(*mail);
            }
        }
        rounds.push(Round {
            in_doubt: doubtful.len(),
            had_gone_out: doubtful.len() - again.len(),
        });
        // A retry can lose its response, too.
        doubtful = in_doubt(&caller.send(url, again.into_iter()).await);
    }
    Ok(rounds)
}

fn in_doubt(beliefs: &[Belief]) -> Vec<u32> {
    with_effect(beliefs, Effect::Possible)
}

fn with_effect(beliefs: &[Belief], effect: Effect) -> Vec<u32> {
    let failed = beliefs.iter().filter(
        |belief| matches!(belief.of, Outcome::Failed(Some(reported), _) if reported == effect),
    );
    failed.map(|belief| belief.mail).collect()
}

/// For more rounds, one of twenty mails would have to be lost this many times in a row.
const MOST_ROUNDS: usize = 12;
