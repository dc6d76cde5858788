//! One reqwest client for each destination and address: the pool of an address ends with it.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ClientConfig;
use tokio::time::Instant;
use url::Url;

use super::connector::EarLayer;
use super::target::Target;
use crate::clock;
use crate::error::SettingError;
use crate::limit::Limits;

/// Changes a reqwest client before ours is laid over it.
pub(super) type Hook = Arc<dyn Fn(reqwest::ClientBuilder) -> reqwest::ClientBuilder + Send + Sync>;

/// How a client is made.
#[derive(Clone)]
pub(super) struct Recipe {
    pub(super) tls: ClientConfig,
    pub(super) hook: Option<Hook>,
    pub(super) proxy: Option<Url>,
    pub(super) limits: Limits,
}

impl Recipe {
    /// Makes the client of one address. The caller's hook comes first and ours last, so that it
    /// cannot undo resolver, redirects or retries.
    pub(super) fn make(
        &self,
        host: &Arc<str>,
        address: SocketAddr,
    ) -> reqwest::Result<reqwest::Client> {
        let mut builder = self
            .hooked()
            .tls_backend_preconfigured(self.tls.clone())
            .dns_resolver(Only(address))
            .connector_layer(EarLayer {
                address,
                host: Arc::clone(host),
                limits: self.limits,
            })
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_gzip()
            .no_brotli()
            .no_deflate()
            .no_zstd()
            .no_proxy()
            .tcp_nodelay(true)
            .pool_idle_timeout(IDLE_CONNECTION);
        if let Some(proxy) = &self.proxy {
            builder = builder.proxy(reqwest::Proxy::all(proxy.clone())?);
        }
        builder.build()
    }

    fn hooked(&self) -> reqwest::ClientBuilder {
        let builder = reqwest::Client::builder();
        match &self.hook {
            Some(hook) => hook(builder),
            None => builder,
        }
    }

    /// Tries the recipe once, so that what is wrong with it is heard when the client is built.
    pub(super) fn check(&self) -> Result<(), SettingError> {
        // There is no way to take back an override of single names, and it would send calls past
        // our own look-up: the debug output is the only place where it shows.
        if format!("{:?}", self.hooked()).contains("dns_overrides") {
            return Err(SettingError::out_of_range(
                "reqwest hook",
                "resolve(..)",
                "what leaves name resolution alone; give the client a resolver instead",
            ));
        }
        let address = SocketAddr::from(([127, 0, 0, 1], 9));
        match self.make(&"localhost".into(), address) {
            Ok(client) => refuse_timeouts(&format!("{:?} {client:?}", self.hooked())),
            Err(error) => Err(SettingError::failed(
                "reqwest hook or tls",
                error.without_url(),
            )),
        }
    }
}

/// A timeout below ours would end calls in ways that nobody can name, and cannot be taken back.
fn refuse_timeouts(shown: &str) -> Result<(), SettingError> {
    for set in ["connect_timeout", "read_timeout", "timeout"] {
        if shown.contains(&format!(" {set}: ")) {
            return Err(SettingError::out_of_range(
                "reqwest hook",
                format_args!("{set}(..)"),
                "what leaves the timeouts alone; give the client limits instead",
            ));
        }
    }
    Ok(())
}

/// The clients in use, bounded in number and in idle time.
pub(super) struct Clients {
    recipe: Recipe,
    held: Mutex<HashMap<Key, Held>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    https: bool,
    host: Arc<str>,
    address: SocketAddr,
}

struct Held {
    client: reqwest::Client,
    used: Instant,
}

impl Clients {
    pub(super) fn new(recipe: Recipe) -> Self {
        Self {
            recipe,
            held: Mutex::default(),
        }
    }

    /// The client of an address, made on first use.
    pub(super) fn of(
        &self,
        target: &Target,
        address: SocketAddr,
    ) -> reqwest::Result<reqwest::Client> {
        let key = Key {
            https: target.url.scheme() == "https",
            host: Arc::clone(&target.host),
            address,
        };
        let used = clock::now();
        if let Some(held) = self.held().get_mut(&key) {
            held.used = used;
            return Ok(held.client.clone());
        }
        // Made outside of the lock; if two make one at once, the first stays.
        let made = self.recipe.make(&target.host, address)?;
        let mut held = self.held();
        let gone = if held.len() >= MOST_CLIENTS {
            evict(&mut held, used)
        } else {
            Vec::new()
        };
        let client = held
            .entry(key)
            .or_insert(Held { client: made, used })
            .client
            .clone();
        drop(held);
        drop(gone);
        Ok(client)
    }

    /// The address of `target` that was used last.
    pub(super) fn warm(&self, target: &Target, answer: &[IpAddr], port: u16) -> Option<IpAddr> {
        let held = self.held();
        let used = |address: &IpAddr| {
            let key = Key {
                https: target.url.scheme() == "https",
                host: Arc::clone(&target.host),
                address: SocketAddr::new(*address, port),
            };
            held.get(&key).map(|held| held.used)
        };
        let warm = answer.iter().filter_map(|a| used(a).map(|at| (at, *a)));
        warm.max_by_key(|(at, _)| *at).map(|(_, address)| address)
    }

    fn held(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes room: those idle for long go, or else the one idle for longest. Bodies in flight finish.
fn evict(held: &mut HashMap<Key, Held>, now: Instant) -> Vec<Held> {
    let idle = |held: &Held| now.saturating_duration_since(held.used) >= IDLE_CLIENT;
    let mut gone: Vec<Held> = held
        .extract_if(|_, held| idle(held))
        .map(|(_, held)| held)
        .collect();
    if gone.is_empty() {
        let oldest = held
            .iter()
            .min_by_key(|(_, held)| held.used)
            .map(|(key, _)| key.clone());
        gone.extend(oldest.and_then(|key| held.remove(&key)));
    }
    gone
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients")
            .field("held", &self.held().len())
            .finish_non_exhaustive()
    }
}

/// A resolver that knows one address.
#[derive(Debug)]
struct Only(SocketAddr);

impl reqwest::dns::Resolve for Only {
    fn resolve(&self, _name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let addresses: reqwest::dns::Addrs = Box::new(std::iter::once(self.0));
        Box::pin(std::future::ready(Ok(addresses)))
    }
}

const MOST_CLIENTS: usize = 1_024;
const IDLE_CLIENT: Duration = Duration::from_secs(10 * 60);
/// Load balancers drop idle connections at 60 s: ours are gone before.
const IDLE_CONNECTION: Duration = Duration::from_secs(50);
