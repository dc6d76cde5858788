//! A user changes a name, reads it, and sees the old one. There are three replicas, and a write reaches the others
//! after 46 ms.
//!
//! ```text
//! cargo run -p sevenhops-demos --bin old_name
//! ```
//!
//! Six sessions at a time write a name and then read it every few milliseconds, for 100 ms. A read went backwards if it
//! shows an older name than an earlier read or write of the same session. There are three runs:
//!
//! - **without affinity**: each call goes to the address with the fewest requests in flight.
//! - **with affinity**: `affinity(session)` keeps the calls of a session on one address.
//! - **an address is lost**: the same, and one replica stops after each write. Its sessions move. Each call that moves
//!   says in its timeline that reads may go back in time.
//!
//! The claims on the runs are checked below the table. The program fails if one of them is wrong.

mod replica;

use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;
use std::time::Duration;

use sevenhops::testing::{DnsScript, ScriptedDns};
use sevenhops::{Client, RequestBuilder};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::replica::{ADDRESSES, Replicas};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    Without,
    With,
    Lost,
}

/// The counts of a run, or of one session.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    reads: u32,
    failed: u32,
    backwards: u32,
    /// Reads that went backwards, although no timeline said so since the newest name was seen.
    untold: u32,
    /// Calls whose timeline says that reads may go back in time.
    told: u32,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    println!(
        "run                  reads  failed  went backwards  of them untold  told by the timeline"
    );
    let mut counts = Vec::new();
    for (run, name) in [
        (Run::Without, "without affinity"),
        (Run::With, "with affinity"),
        (Run::Lost, "an address is lost"),
    ] {
        let all = play(run).await?;
        println!(
            "{name:<19} {:>6} {:>7} {:>15} {:>15} {:>21}",
            all.reads, all.failed, all.backwards, all.untold, all.told
        );
        counts.push(all);
    }
    let [without, with, lost] = counts[..] else {
        return Err("three runs".into());
    };
    println!();
    let claims = [
        (
            "without affinity a refresh shows the old name again",
            without.backwards > 0 && without.failed == 0,
        ),
        (
            "with affinity no read goes backwards, and no timeline warns",
            with.backwards == 0 && with.failed == 0 && with.told == 0,
        ),
        (
            "a lost address moves its sessions, and no call fails",
            lost.told > 0 && lost.failed == 0,
        ),
        (
            "the reads of a lost address go backwards, and none without a word in the timeline",
            lost.backwards > 0 && lost.untold == 0,
        ),
    ];
    let mut all = true;
    for (text, holds) in claims {
        println!("{}: {text}", if holds { "holds" } else { "WRONG" });
        all &= holds;
    }
    Ok(if all {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn play(run: Run) -> Result<Counts> {
    let dns = ScriptedDns::start().await?;
    dns.set(
        "profile.test",
        DnsScript::addresses(ADDRESSES.map(IpAddr::V4)),
    );
    let client = Client::builder(Duration::from_secs(5))
        .transport(|transport| transport.resolver(dns.resolver()));
    let client = client.build()?;
    let mut all = Counts::default();
    for round in 0..ROUNDS {
        let replicas = Replicas::start().await?;
        let mut sessions = JoinSet::new();
        for session in 0..SESSIONS {
            let user = format!("user-{round}-{session}");
            let url = format!("http://profile.test:{}/{user}", replicas.port);
            let session = Session {
                client: client.clone(),
                url,
                key: (run != Run::Without).then_some(user),
                newest: 0,
                is_told: false,
                counts: Counts::default(),
            };
            sessions.spawn(session.play());
        }
        if run == Run::Lost {
            sleep(LOST_AT).await;
            replicas.stop(LOST);
        }
        for counts in sessions.join_all().await {
            all.add(counts?);
        }
        for address in ADDRESSES {
            replicas.stop(address);
        }
    }
    Ok(all)
}

struct Session {
    client: Client,
    url: String,
    key: Option<String>,
    /// The newest name that the session has seen.
    newest: u64,
    /// Whether a timeline said since then that reads may go back in time.
    is_told: bool,
    counts: Counts,
}

impl Session {
    async fn play(mut self) -> Result<Counts> {
        let write = self.client.put(&self.url).body("Alice");
        self.call(write).await;
        let began = Instant::now();
        for read in 0..READS {
            sleep_until(began + EVERY * read).await;
            let get = self.client.get(&self.url);
            self.counts.reads += 1;
            self.call(get).await;
        }
        Ok(self.counts)
    }

    async fn call(&mut self, request: RequestBuilder) {
        let request = match &self.key {
            Some(key) => request.options(|options| options.affinity(key)),
            None => request,
        };
        if self.take(request).await.is_err() {
            self.counts.failed += 1;
        }
    }

    async fn take(&mut self, request: RequestBuilder) -> Result<()> {
        let response = request.send().await?.error_for_status()?;
        let attempts = response.timeline().map(|timeline| timeline.attempts());
        let moved = attempts
            .iter()
            .flatten()
            .any(|attempt| attempt.is_affinity_moved());
        self.counts.told += u32::from(moved);
        self.is_told |= moved;
        let version: u64 = response.text().await?.parse()?;
        if version < self.newest {
            self.counts.backwards += 1;
            self.counts.untold += u32::from(!self.is_told);
        } else if version > self.newest {
            (self.newest, self.is_told) = (version, moved);
        }
        Ok(())
    }
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.reads += other.reads;
        self.failed += other.failed;
        self.backwards += other.backwards;
        self.untold += other.untold;
        self.told += other.told;
    }
}

const ROUNDS: u32 = 20;
const SESSIONS: u32 = 6;
const READS: u32 = 25;
const EVERY: Duration = Duration::from_millis(4);
/// Before the write has reached the others.
const LOST_AT: Duration = Duration::from_millis(20);
const LOST: Ipv4Addr = ADDRESSES[1];
