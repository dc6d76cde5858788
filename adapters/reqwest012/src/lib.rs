#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![warn(missing_docs, missing_debug_implementations)]

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::client::legacy::connect::dns::Name as HyperName;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use sevenhops::dns;
use sevenhops::sdk::hyper::ResolverService;
use sevenhops::{ConfigError, Timeouts, Transport, TransportBuilder};
use tower_service::Service;

/// Returns a client of reqwest 0.12 whose requests end within `deadline`, to the last byte of the body.
///
/// # Errors
///
/// Fails if `deadline` is out of range, or if the system's name servers or roots cannot be read.
pub fn client(deadline: Duration) -> Result<reqwest::Client, Box<dyn Error + Send + Sync>> {
    Ok(builder(Timeouts::new(deadline)?)?.build()?)
}

/// Returns the builder of such a client, for more options of reqwest. `dns_resolver`, `use_preconfigured_tls`,
/// `connect_timeout` and `timeout` are set.
///
/// # Errors
///
/// Fails if the system's name servers or roots cannot be read.
pub fn builder(timeouts: Timeouts) -> Result<reqwest::ClientBuilder, ConfigError> {
    begin(Transport::builder(timeouts), timeouts)
}

/// Returns the same builder, with a resolver of yours.
///
/// # Errors
///
/// Fails if the system's roots cannot be read.
pub fn builder_with(
    timeouts: Timeouts,
    resolver: impl dns::Resolve,
) -> Result<reqwest::ClientBuilder, ConfigError> {
    begin(Transport::builder(timeouts).resolver(resolver), timeouts)
}

fn begin(
    transport: TransportBuilder,
    timeouts: Timeouts,
) -> Result<reqwest::ClientBuilder, ConfigError> {
    let parts = transport.build_hyper()?;
    // The time that reqwest divides among the addresses, and the bound of the whole setup.
    let setup = [timeouts.dns(), timeouts.connect(), timeouts.tls()];
    Ok(reqwest::Client::builder()
        .use_preconfigured_tls(parts.tls())
        .dns_resolver(Arc::new(Names(parts.resolver())))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .tcp_nodelay(true)
        .connect_timeout(setup.iter().sum())
        .timeout(timeouts.deadline()))
}

/// The resolver of sevenhops, in the form that reqwest 0.12 takes.
struct Names(ResolverService);

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let mut names = self.0.clone();
        Box::pin(async move {
            let name: HyperName = name.as_str().parse()?;
            let addresses: Addrs = Box::new(names.call(name).await?);
            Ok(addresses)
        })
    }
}
