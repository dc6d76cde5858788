//! A checked config: the values of each destination.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::Uri;

use super::check::Calls;
use super::{Config, DestinationConfig};
use crate::config_error::ConfigError;
use crate::destination::{Host, Hosts, Pattern, Table, shown};
use crate::driver::{LoadConfigs, LoadRules};
use crate::policy::NamedRules;
use crate::policy::breaker::CircuitBreakerConfig;
use crate::policy::breaker::CircuitRules;
use crate::policy::endpoints::{self, Endpoints};
use crate::policy::retry::Budget;
use crate::timeout::Timeouts;

/// The values of each destination.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The config that the plan was made from.
    pub(crate) config: Config,
    pub(crate) table: Table<Arc<Effective>>,
    /// The endpoints of logical names; `None` if there are none.
    pub(crate) endpoints: Option<Arc<Endpoints>>,
    /// How many reloads of the process there were when this plan was made.
    generation: u64,
}

/// The values of one row of the table.
#[derive(Debug)]
pub(crate) struct Effective {
    /// The config, without parts for destinations.
    pub(crate) config: Config,
    pub(crate) timeouts: Timeouts,
    /// The pattern of the most specific part that applies; `None` at the top of the config.
    part: Option<String>,
}

/// A part of the config, and the calls that it applies to.
struct Part<'s> {
    pattern: Pattern,
    path: String,
    config: &'s DestinationConfig,
}

impl Plan {
    /// Checks a config, with all its parts.
    ///
    /// # Errors
    ///
    /// Fails if a value is out of range, or if it contradicts another one for any destination. Also fails if a
    /// pattern is invalid or duplicate, or if a route has a breaker or a budget.
    pub(crate) fn new(config: &Config) -> Result<Self, ConfigError> {
        config.redirect.check_alone()?;
        endpoints::check(&config.endpoints)?;
        let parts = parts(config)?;
        let plan = |route: Option<&str>| {
            let hosts = parts.iter().map(|part| &part.pattern.host);
            let hosts: HashSet<_> = hosts.filter(|host| **host != Host::Any).collect();
            let mut hosts: Vec<_> = hosts.into_iter().collect();
            // The least specific host is first, so an error in a part for many hosts is reported once, at that part.
            hosts.sort_by_key(|host| host.rank());
            let rest = effective(config, &parts, (&Host::Any, route))?;
            let row = |host: &Host| Ok((host.clone(), effective(config, &parts, (host, route))?));
            let rows = hosts.into_iter().map(row);
            Ok(Hosts::new(rows.collect::<Result<_, ConfigError>>()?, rest))
        };
        let routes = parts
            .iter()
            .filter_map(|part| part.pattern.route.as_deref());
        let routes: HashSet<_> = routes.collect();
        let rows = (routes.len() + 1).saturating_mul(parts.len() + 1);
        if rows > MOST_ROWS {
            let expected = format_args!("at most {MOST_ROWS} pairs of a route and a host");
            return Err(ConfigError::invalid("destinations", rows, expected));
        }
        let plain = plan(None)?;
        let routes = routes.into_iter();
        let routes = routes.map(|route| Ok((Box::from(route), plan(Some(route))?)));
        Ok(Self {
            table: Table {
                plain,
                routes: routes.collect::<Result<_, ConfigError>>()?,
            },
            endpoints: Endpoints::new(&config.endpoints, None),
            config: config.clone(),
            generation: RELOADS.load(Ordering::Relaxed),
        })
    }

    /// Takes the place of the plan before this one. Keeps the health of endpoints that both have.
    pub(crate) fn follow(&mut self, before: &Self) {
        self.generation = 1 + RELOADS.fetch_add(1, Ordering::Relaxed);
        let before = before.endpoints.as_deref();
        self.endpoints = Endpoints::new(&self.config.endpoints, before);
    }

    /// Returns the timeouts of all destinations.
    pub(crate) fn timeouts(&self) -> Vec<Timeouts> {
        self.table.values().map(|row| row.timeouts).collect()
    }

    pub(crate) fn find(&self, url: &Uri, route: Option<&str>) -> &Effective {
        self.table.find(url, route)
    }

    /// Returns the rules of circuits. Calls of any route share the circuit of their host.
    pub(crate) fn rules(&self) -> Hosts<CircuitRules> {
        let rules = |row: &Arc<Effective>| row.config.circuit_breaker.rules(&row.timeouts);
        self.table.plain.map(rules)
    }

    /// Returns the terms of budgets. Calls of any route share the budget of their host.
    pub(crate) fn budgets(&self) -> Hosts<Budget> {
        let terms = |row: &Arc<Effective>| row.config.retry.get_budget();
        self.table.plain.map(terms)
    }

    /// Returns the rules of the policies that bound the load. Calls of any route share the limits of their host.
    pub(crate) fn load_rules(&self) -> LoadRules {
        fn named<C: Clone>(
            plan: &Plan,
            part: impl for<'c> Fn(LoadConfigs<'c>) -> Option<&'c C>,
        ) -> NamedRules<C> {
            let part = |row: &Arc<Effective>| part(row.config.load()).cloned();
            NamedRules::new(plan.generation, plan.table.plain.map(part))
        }
        LoadRules {
            throttle: named(self, |own| own.throttle),
            concurrency: named(self, |own| own.concurrency),
            rate_limit: named(self, |own| own.rate_limit),
        }
    }

    /// Refuses budgets whose terms differ from those of the shared budgets.
    pub(crate) fn check_shared(&self, shared: Budget) -> Result<(), ConfigError> {
        let other = |row: &&Arc<Effective>| {
            row.config.retry.has_budget() && row.config.retry.get_budget() != shared
        };
        let Some(row) = self.table.values().find(other) else {
            return Ok(());
        };
        let own = row.config.retry.get_budget();
        let expected = format_args!("the terms of the shared budgets ({shared:?})");
        let error = ConfigError::invalid("retry.budget", own, expected);
        Err(within(row.part.as_deref(), error))
    }

    /// Refuses to serve responses while they are refreshed, for a stack that cannot refresh them.
    pub(crate) fn check_refresh(&self) -> Result<(), ConfigError> {
        let refreshes = |row: &&Arc<Effective>| row.config.stale.get_while_revalidate().is_some();
        let Some(row) = self.table.values().find(refreshes) else {
            return Ok(());
        };
        let why = "a StandardLayer cannot send requests in the background: use a client, or put a StaleLayer above";
        let error = ConfigError::refused("stale.while_revalidate", why);
        Err(within(row.part.as_deref(), error))
    }
}

impl Config {
    /// Returns whether a host is the name of endpoints.
    fn is_logical(&self, host: &Host) -> bool {
        match host {
            Host::Is(host, _) => self.endpoints.iter().any(|(name, _)| **name == **host),
            _ => false,
        }
    }
}

/// Adds the path of a part to an error, if it is not at the top of the config.
fn within(part: Option<&str>, error: ConfigError) -> ConfigError {
    match part {
        Some(part) => error.within(part),
        None => error,
    }
}

/// Returns the parts of a config, the least specific first.
fn parts(config: &Config) -> Result<Vec<Part<'_>>, ConfigError> {
    let mut parts: Vec<Part<'_>> = Vec::with_capacity(config.destinations.len());
    let mut known = HashSet::with_capacity(config.destinations.len());
    for (text, own) in &config.destinations {
        let path = format!("destinations.{:?}", shown(text));
        let Some(pattern) = Pattern::read(text) else {
            return Err(ConfigError::invalid("destinations", shown(text), PATTERNS));
        };
        if !known.insert(pattern.clone()) {
            let why = format_args!("the pattern {pattern} occurs twice: remove one");
            return Err(ConfigError::refused(path, why));
        }
        if own.stale.has_store() {
            let why = "the store is shared by all destinations: set it at the top of the config";
            return Err(ConfigError::refused(
                format!("{path}.stale.store_bytes"),
                why,
            ));
        }
        if config.is_logical(&pattern.host)
            && let Some(field) = own.other_than_of_the_call()
        {
            let why = "it is overruled for a logical name: set it for the hosts of its endpoints";
            return Err(ConfigError::refused(format!("{path}.{field}"), why));
        }
        if pattern.route.is_some() {
            let why =
                "is shared by all routes of a host: set it for the host, or for all destinations";
            if own.circuit_breaker != CircuitBreakerConfig::new() {
                return Err(ConfigError::refused(
                    format!("{path}.circuit_breaker"),
                    format_args!("a circuit {why}"),
                ));
            }
            for (part, is_there, what) in [
                ("throttle", own.throttle.is_some(), "a throttle"),
                (
                    "concurrency",
                    own.concurrency.is_some(),
                    "a concurrency limit",
                ),
                ("rate_limit", own.rate_limit.is_some(), "a rate limit"),
            ] {
                if is_there {
                    let path = format!("{path}.{part}");
                    return Err(ConfigError::refused(path, format_args!("{what} {why}")));
                }
            }
            if own.retry.has_budget() {
                let path = format!("{path}.retry.budget");
                return Err(ConfigError::refused(path, format_args!("a budget {why}")));
            }
        }
        let redirect = own.redirect.check_alone();
        redirect.map_err(|error| error.within(&path))?;
        parts.push(Part {
            pattern,
            path,
            config: own,
        });
    }
    parts.sort_by_key(|part| part.pattern.rank());
    Ok(parts)
}

/// Returns the values of calls to these hosts on this route: the config, then each part that applies to them.
fn effective(
    config: &Config,
    parts: &[Part<'_>],
    (host, route): (&Host, Option<&str>),
) -> Result<Arc<Effective>, ConfigError> {
    let calls = Pattern {
        host: host.clone(),
        route: route.map(Box::from),
    };
    let mut own = config.without_destinations();
    let mut last = None;
    for part in parts.iter().filter(|part| part.pattern.contains(&calls)) {
        own = own.under(part.config);
        last = Some(part.path.clone());
    }
    let checked = own.check(match route {
        _ if config.is_logical(host) => Calls::Name,
        Some(_) => Calls::Route,
        None => Calls::Host,
    });
    let timeouts = checked.map_err(|error| within(last.as_deref(), error))?;
    Ok(Arc::new(Effective {
        config: own,
        timeouts,
        part: last,
    }))
}

const PATTERNS: &str = "a host (api.test, api.test:8443), the hosts below a name (*.example.com), a route \
                        (/v1/charges/{id}), or a host with a route";
/// The reloads of the process. Stacks may share a limit, so their generations are comparable.
static RELOADS: AtomicU64 = AtomicU64::new(0);
/// Each row takes a few kilobytes, and each call searches all hosts in order.
const MOST_ROWS: usize = 4_096;
