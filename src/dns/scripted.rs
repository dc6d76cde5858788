//! A source that does as a test says, on tokio's paused clock.

use std::collections::HashMap;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::error::{Failure, Reason};
use super::source::{Outcome, Source};
use super::{Family, Question, Resolver};

#[derive(Clone, Debug, Default)]
pub(super) struct Scripted(Arc<Mutex<Script>>);

#[derive(Debug, Default)]
struct Script {
    says: HashMap<Asked, (Duration, Say)>,
    asked: Vec<Asked>,
}

type Asked = (String, Family);

#[derive(Clone, Debug)]
pub(super) enum Say {
    Address(&'static str, u64),
    Nothing(Reason, Option<u64>),
    Silence,
    Panic,
}

impl Scripted {
    /// Names that nothing is said about do not exist, for an hour.
    pub(super) fn say(&self, (name, family): (&str, Family), after_millis: u64, say: Say) {
        let after = Duration::from_millis(after_millis);
        let mut script = self.0.lock().unwrap();
        script.says.insert((name.into(), family), (after, say));
    }

    /// An address of one family and none of the other, at once.
    pub(super) fn four(&self, name: &str, address: &'static str, ttl: u64) {
        self.say((name, Family::V4), 0, Say::Address(address, ttl));
        let none = Say::Nothing(Reason::NoRecords, Some(ttl));
        self.say((name, Family::V6), 0, none);
    }

    pub(super) fn asked(&self, family: Family) -> Vec<String> {
        let script = self.0.lock().unwrap();
        let asked = script.asked.iter().filter(|(_, f)| *f == family);
        asked.map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn resolver(&self) -> Resolver {
        let builder = Resolver::builder().hosts_file(false);
        builder.finish(Arc::new(self.clone())).unwrap()
    }

    pub(super) fn searching(&self, domains: &[&str], ndots: usize) -> Resolver {
        let builder = Resolver::builder().hosts_file(false);
        let builder = builder.search(domains.iter().copied()).ndots(ndots);
        builder.finish(Arc::new(self.clone())).unwrap()
    }
}

impl Source for Scripted {
    fn ask(&self, question: &Question) -> Pin<Box<dyn Future<Output = Outcome> + Send>> {
        let mut script = self.0.lock().unwrap();
        let key = (question.name.to_string(), question.family);
        let missing = (
            Duration::ZERO,
            Say::Nothing(Reason::NotFound, Some(60 * 60)),
        );
        let (after, say) = script.says.get(&key).cloned().unwrap_or(missing);
        script.asked.push(key);
        Box::pin(async move {
            tokio::time::sleep(after).await;
            match say {
                Say::Address(address, ttl) => Outcome::Addresses {
                    addresses: vec![address.parse::<IpAddr>().unwrap()],
                    ttl: Duration::from_secs(ttl),
                },
                Say::Nothing(reason, ttl) => Outcome::Nothing {
                    failure: Failure::new(reason),
                    ttl: ttl.map(Duration::from_secs),
                },
                Say::Silence => std::future::pending().await,
                Say::Panic => panic!("as scripted"),
            }
        })
    }
}
