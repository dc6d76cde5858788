use std::fmt;
use std::sync::{Arc, Mutex};

use rustls::ClientConfig;

#[cfg(feature = "cookies")]
use super::CookieJar;
use super::destinations::DestinationPools;
use super::dial::Connector;
use super::dial::dead_peer::DeadPeerTimeouts;
use super::options::{NO_ADDRESS, Options};
use super::pool::bounds::{Bounds, most_connections};
use super::proxy::{Choice, Proxies};
use super::wire::http2::UNTOLD;
use super::{Transport, TransportInner, tls};
use crate::chaos::ChaosLayer;
use crate::config_error::ConfigError;
use crate::dns::{AddressFilter, ContainedResolver, Resolve, Resolver};
use crate::roots;
use crate::timeout::Timeouts;

/// Builds a [`Transport`].
///
/// # Example
///
/// ```no_run
/// use std::time::Duration;
/// use sevenhops::{StandardLayer, Timeouts, Transport, dns::AddressFilter};
///
/// # fn f() -> Result<(), sevenhops::ConfigError> {
/// let transport = Transport::builder(Timeouts::new(Duration::from_secs(10))?)
///     .filter(AddressFilter::public_only())
///     .max_connections_per_destination(32)
///     .build()?;
/// let service = StandardLayer::new(Duration::from_secs(10))?.over(transport);
/// # drop(service); Ok(()) }
/// ```
#[must_use = "a builder does nothing until it is built"]
#[derive(Clone)]
pub struct TransportBuilder {
    timeouts: Timeouts,
    resolver: Option<Arc<dyn Resolve>>,
    filter: AddressFilter,
    tls: Option<ClientConfig>,
    proxy: Choice,
    no_proxy: String,
    proxy_filters: bool,
    pub(super) options: Options,
    chaos: Option<ChaosLayer>,
    #[cfg(feature = "cookies")]
    cookies: Option<CookieJar>,
}

impl TransportBuilder {
    pub(crate) fn new(timeouts: Timeouts) -> Self {
        Self {
            timeouts,
            resolver: None,
            filter: AddressFilter::new(),
            tls: None,
            proxy: Choice::Straight,
            no_proxy: String::new(),
            proxy_filters: false,
            options: Options::default(),
            chaos: None,
            #[cfg(feature = "cookies")]
            cookies: None,
        }
    }

    /// Sets the timeouts of a client that was not known before.
    pub(crate) fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Sets the resolver. By default, a cache queries the system's name servers.
    pub fn resolver(mut self, resolver: impl Resolve) -> Self {
        self.resolver = Some(Arc::new(ContainedResolver::new(resolver)));
        self
    }

    /// Keeps the cookies that servers set in this jar, and sends them back: see [`CookieJar`]. Without a jar, the
    /// client ignores cookies. (Feature `cookies`.)
    #[cfg(feature = "cookies")]
    pub fn cookies(mut self, jar: &CookieJar) -> Self {
        self.cookies = Some(jar.clone());
        self
    }

    /// Dials only addresses that pass this filter: addresses from DNS and addresses in URLs, on every leg of a
    /// redirect. If no address passes, the call fails at dns, and nothing was sent.
    ///
    /// A proxy looks names up by itself, so the filter cannot see where a request goes. A filter together
    /// with a proxy is refused at [`build`](Self::build), unless [`proxy_filters`](Self::proxy_filters) says
    /// that the proxy refuses such addresses itself.
    pub fn filter(mut self, filter: AddressFilter) -> Self {
        self.filter = filter;
        self
    }

    /// Sets the TLS configuration: roots, client certificate, versions. Its session store is replaced: each
    /// destination has one of its own. If ALPN is not set, the client offers HTTP/2 and HTTP/1.1.
    ///
    /// A client certificate is shown to servers that the caller's own URLs name. It is not shown to another origin that
    /// a redirect leads to, nor to a proxy. A client of another crate shares its connections among all of its requests:
    /// [`sdk::hyper`](crate::sdk::hyper) and [`sdk::bare`](crate::sdk::bare) say what follows.
    pub fn tls(mut self, config: ClientConfig) -> Self {
        self.tls = Some(config);
        self
    }

    /// Sends everything through a proxy: `http://`, `https://` or `socks5h://`, with credentials if it
    /// requires them (`http://user:password@proxy:3128`). Replaces an earlier choice of proxies.
    ///
    /// The proxy's name is looked up here, the destination's by the proxy. The hops dns and connect are then those of
    /// the proxy and its tunnel, and [`Attempt::via`](crate::timeline::Attempt) names the proxy. A refused tunnel is a
    /// failure at connect.
    ///
    /// # Defaults
    ///
    /// No proxy. The environment is read only after [`proxy_from_env`](Self::proxy_from_env).
    ///
    /// # How people get it wrong
    ///
    /// `socks5://` asks the client to look the destination up and `socks5h://` asks the proxy. [`build`](Self::build)
    /// refuses the first: names often resolve differently in the proxy's network.
    pub fn proxy(mut self, url: impl Into<String>) -> Self {
        self.proxy = Choice::Through(url.into());
        self
    }

    /// Reads the proxies from the environment, once, when the transport is built: `HTTP_PROXY` or `HTTPS_PROXY` by the
    /// destination's scheme, else `ALL_PROXY`. Destinations in `NO_PROXY` have no proxy. Each name is also read in
    /// lower case; the upper case has priority, and an empty variable counts as not set. In a CGI program
    /// (`REQUEST_METHOD` is set) `HTTP_PROXY` comes from a header of the request, and is ignored.
    ///
    /// Off by default, unlike in curl and reqwest. Otherwise a variable that was set for another program could send the
    /// requests elsewhere, and failures would name hops that are not in the code.
    pub fn proxy_from_env(mut self) -> Self {
        self.proxy = Choice::Environment;
        self
    }

    /// Reaches these destinations without the proxy, besides those of `NO_PROXY`. Entries are separated by
    /// commas or white space.
    ///
    /// | entry | reached without the proxy |
    /// |---|---|
    /// | `*` | everything |
    /// | `api.test`, `.api.test` | that name and all names below it |
    /// | `*.api.test` | only the names below it |
    /// | `10.1.2.3`, `::1`, `[::1]` | that address |
    /// | `10.0.0.0/8`, `fd00::/8` | the addresses of that network |
    /// | any of these with `:8080` (`[::1]:8080`) | the same, at that port only |
    ///
    /// Case and trailing dots do not matter. Names are not looked up: an address matches only a URL that
    /// holds an address. An unreadable entry, here or in `NO_PROXY`, is an error at [`build`](Self::build).
    pub fn no_proxy(mut self, destinations: impl Into<String>) -> Self {
        self.no_proxy = destinations.into();
        self
    }

    /// Declares that the proxy itself refuses the addresses that the [`filter`](Self::filter) refuses. Without this, a
    /// filter together with a proxy is an error at [`build`](Self::build).
    ///
    /// Destinations that are reached without the proxy, and addresses in URLs, are still filtered here. The proxy's own
    /// address is not filtered.
    pub fn proxy_filters(mut self, filters: bool) -> Self {
        self.proxy_filters = filters;
        self
    }

    /// Injects faults into some of the requests: see [the module](crate::chaos). The default is none.
    pub fn chaos(mut self, chaos: ChaosLayer) -> Self {
        self.chaos = Some(chaos);
        self
    }

    /// Builds the transport.
    ///
    /// # Errors
    ///
    /// Fails if the proxy's URL is invalid (the error names the variable, not its value), or if an entry of
    /// [`no_proxy`](Self::no_proxy) or `NO_PROXY` is unreadable. Fails also if there are a filter and a proxy without
    /// [`proxy_filters`](Self::proxy_filters), and if an option of connections is invalid. Without roots or name servers,
    /// only the calls that need them fail.
    pub fn build(mut self) -> Result<Transport, ConfigError> {
        let chaos = self.chaos.take();
        #[cfg(feature = "cookies")]
        let cookies = self.cookies.take();
        self.options.check()?;
        let has_resolver = self.resolver.is_some();
        let parts = self.parts()?;
        parts.refuse_unfiltered()?;
        parts.refuse_addresses(has_resolver)?;
        let Parts {
            tls,
            timeouts,
            options,
            resolver,
            filter,
            proxies,
            ..
        } = parts;
        let tls = tls.map_err(Arc::new).map(|tls| {
            let mut tls = tls::with_alpn(tls);
            if options.http1_only {
                tls.alpn_protocols = vec![b"http/1.1".to_vec()];
            }
            tls
        });
        let most = options.most.unwrap_or_else(most_connections);
        let most_leases = options.most_leases.unwrap_or(MOST_LEASES);
        Ok(Transport {
            shared: Arc::new(TransportInner {
                connector: Arc::new(connector(&timeouts, options, &tls)),
                destinations: DestinationPools::new(most_leases, Bounds::new(most)),
                timeouts,
                anonymous: tls.as_ref().map(tls::without_identity).map_err(Arc::clone),
                tls,
                resolver,
                filter,
                proxies,
                chaos,
                #[cfg(feature = "cookies")]
                cookies,
            }),
        })
    }

    pub(super) fn parts(self) -> Result<Parts, ConfigError> {
        if self.chaos.is_some() {
            let why =
                "the client is from another crate: put the ChaosLayer around the transport instead";
            return Err(ConfigError::refused("transport.chaos", why));
        }
        #[cfg(feature = "cookies")]
        if self.cookies.is_some() {
            let why = "the client is not of this crate: use the cookie store of that client";
            return Err(ConfigError::refused("transport.cookies", why));
        }
        let resolver = match self.resolver {
            Some(resolver) => resolver,
            None => Arc::new(
                Resolver::from_system()
                    .map_err(|error| ConfigError::failed("transport.resolver", error))?,
            ),
        };
        let tls = match self.tls {
            Some(config) => Ok(config),
            None => roots::system(),
        };
        let read = |name: &str| std::env::var_os(name);
        Ok(Parts {
            proxies: Proxies::of(&self.proxy, &self.no_proxy, read)?,
            tls,
            timeouts: self.timeouts,
            options: self.options,
            resolver,
            filter: self.filter,
            proxy_filters: self.proxy_filters,
        })
    }
}

/// The parts of a client with connections of its own.
pub(super) struct Parts {
    /// The error if there is none: only a call that needs it fails.
    pub(super) tls: Result<ClientConfig, ConfigError>,
    pub(super) timeouts: Timeouts,
    pub(super) options: Options,
    pub(super) resolver: Arc<dyn Resolve>,
    pub(super) filter: AddressFilter,
    pub(super) proxies: Proxies,
    pub(super) proxy_filters: bool,
}

impl Parts {
    /// Refuses a filter that a proxy would bypass.
    pub(super) fn refuse_unfiltered(&self) -> Result<(), ConfigError> {
        if self.proxy_filters || !self.filter.is_on() || !self.proxies.is_some() {
            return Ok(());
        }
        Err(ConfigError::refused("transport.filter", UNFILTERED))
    }

    /// Refuses parts that need an address, if there is none.
    fn refuse_addresses(&self, has_resolver: bool) -> Result<(), ConfigError> {
        let parts = [
            ("transport.resolver", has_resolver),
            ("transport.filter", self.filter.is_on()),
            ("transport.proxy", self.proxies.is_some()),
        ];
        let set = parts.into_iter().find(|(_, is_set)| *is_set);
        match set.filter(|_| self.options.unix_socket.is_some()) {
            Some((name, _)) => Err(ConfigError::refused(name, NO_ADDRESS)),
            None => Ok(()),
        }
    }
}

/// Returns the connector of the transport.
fn connector(
    timeouts: &Timeouts,
    options: Options,
    tls: &Result<ClientConfig, Arc<ConfigError>>,
) -> Connector {
    let mut http2 = h2::client::Builder::new();
    http2
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(options.http2_header_bytes.unwrap_or(MOST_HEADERS))
        .enable_push(false)
        .initial_max_send_streams(UNTOLD)
        // Each abandoned response costs one reset, and must not break the other requests of its connection.
        .max_local_error_reset_streams(None);
    let proxy_tls = tls.as_ref().map_err(Arc::clone).map(|tls| {
        // The client's certificate is not for the proxy.
        let mut tls = tls::without_identity(tls);
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(tls)
    });
    let mut http1 = hyper::client::conn::http1::Builder::new();
    http1.title_case_headers(options.title_case);
    if let Some(fields) = options.http1_headers {
        http1.max_headers(fields);
    }
    if let Some(bytes) = options.http1_header_bytes {
        http1.max_header_size(bytes);
        // A head that does not fit into hyper's buffer is refused, too.
        http1.max_buf_size(bytes.max(HYPER_BUFFER));
    }
    Connector {
        dead_peer: Mutex::new(DeadPeerTimeouts::with(timeouts, options.keep_alive)),
        options,
        http1,
        http2,
        proxy_tls,
    }
}

/// The number of HTTP/1 connections of one destination that may be in use at once.
const MOST_LEASES: usize = 256;
/// The bytes in flight on a path of 100 ms at 640 Mbit/s.
const STREAM_WINDOW: u32 = 8 << 20;
/// As many unread responses of that size as most servers allow streams. They must not stop the others.
const CONNECTION_WINDOW: u32 = 1 << 30;
const MOST_HEADERS: u32 = 64 << 10;
/// The default of hyper.
const HYPER_BUFFER: usize = 408 << 10;

const UNFILTERED: &str = "the proxy looks names up itself, so the filter cannot refuse them: call \
                          proxy_filters(true) if the proxy refuses private addresses, else leave out \
                          filter(..), or the proxy";

impl fmt::Debug for TransportBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportBuilder")
            .field("timeouts", &self.timeouts)
            .field("resolver", &self.resolver)
            .field("filter", &self.filter)
            .field("own_tls", &self.tls.is_some())
            .field("proxied", &!matches!(self.proxy, Choice::Straight))
            .field("options", &self.options)
            .field("chaos", &self.chaos)
            .finish()
    }
}
