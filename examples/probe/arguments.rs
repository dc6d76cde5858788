//! The arguments of the probe.

use std::time::Duration;

use sevenhops::Hop;

pub(crate) const USAGE: &str = "usage: probe URL [-n CALLS] [--deadline TIME] [--keep-alive] [--fail-on HOPS] [--json] [--har FILE]";

pub(crate) struct Arguments {
    pub(crate) url: String,
    pub(crate) calls: u32,
    pub(crate) deadline: Duration,
    pub(crate) keeps_alive: bool,
    /// `None` means all hops.
    fail_on: Option<Vec<Hop>>,
    pub(crate) json: bool,
    pub(crate) har: Option<String>,
}

impl Arguments {
    pub(crate) fn read(mut given: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = Self {
            url: String::new(),
            calls: 1,
            deadline: Duration::from_secs(10),
            keeps_alive: false,
            fail_on: None,
            json: false,
            har: None,
        };
        while let Some(argument) = given.next() {
            let mut value = || {
                given
                    .next()
                    .ok_or_else(|| format!("{argument} needs a value"))
            };
            match argument.as_str() {
                "-n" => arguments.calls = calls(&value()?)?,
                "--deadline" => arguments.deadline = time(&value()?)?,
                "--fail-on" => arguments.fail_on = Some(hops(&value()?)?),
                "--har" => arguments.har = Some(value()?),
                "--json" => arguments.json = true,
                "--keep-alive" => arguments.keeps_alive = true,
                other if other.starts_with('-') => return Err(format!("unknown option: {other}")),
                url if arguments.url.is_empty() => arguments.url = url.to_owned(),
                other => return Err(format!("more than one URL: {other}")),
            }
        }
        match arguments.url.is_empty() {
            true => Err("the URL is missing".to_owned()),
            false => Ok(arguments),
        }
    }

    /// Returns whether a failure at this hop counts. One without a hop always does.
    pub(crate) fn counts(&self, hop: Option<Hop>) -> bool {
        let (Some(hops), Some(hop)) = (&self.fail_on, hop) else {
            return true;
        };
        hops.contains(&hop)
    }
}

fn calls(text: &str) -> Result<u32, String> {
    let calls = text
        .parse()
        .ok()
        .filter(|calls| (1..=10_000).contains(calls));
    calls.ok_or_else(|| format!("-n {text}: expected 1..=10000"))
}

fn time(text: &str) -> Result<Duration, String> {
    let read = |digits: &str| digits.parse().ok();
    let time = match text.strip_suffix("ms") {
        Some(digits) => read(digits).map(Duration::from_millis),
        None => text
            .strip_suffix('s')
            .and_then(read)
            .map(Duration::from_secs),
    };
    time.ok_or_else(|| format!("--deadline {text}: expected a time such as 500ms or 2s"))
}

fn hops(text: &str) -> Result<Vec<Hop>, String> {
    let hop = |name: &str| {
        let hop = Hop::ALL.into_iter().find(|hop| hop.as_str() == name.trim());
        hop.ok_or_else(|| {
            let all = Hop::ALL.map(Hop::as_str).join(", ");
            format!("--fail-on {name}: expected some of {all}")
        })
    };
    text.split(',').map(hop).collect()
}
