//! One visit to the page, and its observations.

use std::time::Duration;

use sevenhops::{
    Client, Timeline, TimeoutsConfig, dns,
    hop::{Outcome, Stage},
    testing::{DnsScript, ScriptedDns, TestCa},
};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::Result;
use crate::page::{Desk, Door, Page, Visit};
use crate::service::Service;

/// The state that all visits share: the services and the visitor.
pub(crate) struct World {
    services: Vec<Service>,
    dns: ScriptedDns,
    authority: TestCa,
    visitor: Client,
}

impl World {
    pub(crate) async fn new() -> Result<Self> {
        let (dns, authority) = (ScriptedDns::start().await?, TestCa::new()?);
        let mut services = Vec::new();
        for (name, millis) in SERVICES {
            let takes = Duration::from_millis(millis);
            services.push(Service::start((name, takes), &authority).await?);
            let here = DnsScript::addresses([[127, 0, 0, 1].into()]);
            dns.set(&format!("{name}.test"), here);
        }
        let visitor = Client::builder(PATIENCE)
            // One attempt, which may take all of the deadline.
            .config(|config| {
                config
                    .timeouts(TimeoutsConfig::new().attempt(PATIENCE).first_byte(PATIENCE))
                    .propagate_deadline(true)
            })
            .transport(|transport| {
                transport
                    .resolver(dns::StaticResolver::new())
                    .tls(authority.client_config())
            })
            .build()?;
        Ok(Self {
            services,
            dns,
            authority,
            visitor,
        })
    }

    /// A page that was just deployed: its client knows no name and has no connection.
    pub(crate) async fn deploy(&self) -> Result<Deployed> {
        let (ended, timelines) = unbounded_channel();
        let client = Client::builder(OWN)
            .config(|config| config.propagate_deadline(true))
            .transport(|transport| {
                transport
                    .resolver(self.dns.resolver())
                    .tls(self.authority.client_config())
            })
            .on_complete(move |timeline| {
                // The receiver is gone when the demo is over.
                let _ = ended.send(timeline.clone());
            })
            .build()?;
        let (told, visits) = unbounded_channel();
        let doors: Vec<Door> = self.services.iter().map(|s| (s.name, s.url())).collect();
        let page = Page::start(Desk {
            client,
            doors,
            visits: told,
        });
        Ok(Deployed {
            page: page.await?,
            visits,
            timelines,
        })
    }

    /// Visits a page, and waits for at most this time.
    pub(crate) async fn visit(
        &self,
        page: &mut Deployed,
        at_once: bool,
        patience: Duration,
    ) -> Result<Run> {
        let request = self
            .visitor
            .get(page.page.url(at_once))
            .options(|options| options.retry(false));
        let request = request.options(|options| options.deadline(patience));
        let answered = request.fetch_bytes().await;
        let visit = page.visits.recv().await.ok_or("the page is gone")?;
        let mut timelines = Vec::new();
        for _ in &visit.begun {
            timelines.push(page.timelines.recv().await.ok_or("the client is gone")?);
        }
        let steps = self.services.iter().filter_map(|service| {
            let told = service.told();
            step(service.name, told, &visit, &timelines)
        });
        Ok(Run {
            took: visit.ended - visit.began,
            told: visit
                .told
                .ok_or("the visitor did not say how long it waits")?,
            steps: steps.collect(),
            failure: answered.err().map(|error| error.to_string()),
        })
    }
}

/// A page, and its reports of visits.
pub(crate) struct Deployed {
    page: Page,
    visits: UnboundedReceiver<Visit>,
    timelines: UnboundedReceiver<Timeline>,
}

/// The outcome of a visit.
pub(crate) struct Run {
    pub(crate) took: Duration,
    /// The time that the visitor gave the page.
    pub(crate) told: Duration,
    pub(crate) steps: Vec<Step>,
    /// Why the visitor got no page, if it got none.
    pub(crate) failure: Option<String>,
}

/// A call to one of the services.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    /// When it began, since the beginning of the visit.
    pub(crate) begun: Duration,
    /// The time left, as each of its requests said that arrived.
    pub(crate) told: Vec<Option<Duration>>,
    pub(crate) timeline: Timeline,
}

fn step(
    name: &'static str,
    told: Vec<Option<Duration>>,
    visit: &Visit,
    timelines: &[Timeline],
) -> Option<Step> {
    let (_, begun) = visit.begun.iter().find(|(begun, _)| *begun == name)?;
    let timeline = timelines.iter().find(|told| told.route() == Some(name))?;
    Some(Step {
        name,
        begun: *begun - visit.began,
        told,
        timeline: timeline.clone(),
    })
}

impl Run {
    /// Returns how long each of its calls took.
    pub(crate) fn calls(&self) -> impl Iterator<Item = Duration> {
        self.steps.iter().map(|step| step.timeline.elapsed())
    }

    /// Returns how often a stage was entered in all calls.
    pub(crate) fn entered(&self, stage: Stage) -> usize {
        let spent = self.steps.iter().map(|step| step.stages(stage).count());
        spent.sum()
    }

    /// Returns the time of lookups, connects and handshakes in all calls.
    pub(crate) fn setup(&self) -> Duration {
        let setup = SET_UP.map(|stage| self.steps.iter().map(move |step| step.spent(stage)));
        setup.into_iter().flatten().sum()
    }
}

impl Step {
    /// Returns the time in a stage.
    pub(crate) fn spent(&self, stage: Stage) -> Duration {
        self.stages(stage).map(|(_, took)| took).sum()
    }

    /// Returns each stay in a stage: when it began, since the beginning of the visit, and how long it took.
    pub(crate) fn stages(&self, stage: Stage) -> impl Iterator<Item = (Duration, Duration)> {
        let attempts = self.timeline.attempts().into_iter();
        let rows = attempts.flat_map(|attempt| attempt.stages().to_vec());
        let begun = self.begun;
        let rows = rows.filter(move |row| row.stage() == stage);
        rows.map(move |row| (begun + row.start(), row.duration()))
    }

    pub(crate) fn is_answered(&self) -> bool {
        matches!(self.timeline.outcome(), Some(Outcome::Responded(_)))
    }
}

/// The stages that only a new connection needs.
pub(crate) const SET_UP: [Stage; 3] = [Stage::Dns, Stage::Connect, Stage::Tls];
/// How long each service takes to respond, in milliseconds.
const SERVICES: [(&str, u64); 6] = [
    ("account", 40),
    ("basket", 60),
    ("prices", 80),
    ("stock", 50),
    ("shipping", 70),
    ("offers", 60),
];
/// How long a visitor waits.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);
/// The deadline of the page's own client for each call.
pub(crate) const OWN: Duration = Duration::from_secs(30);
