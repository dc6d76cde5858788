//! The caller: this client, or plain reqwest.

use std::error::Error as StdError;
use std::net::IpAddr;
use std::time::Duration;

use sevenhops::{
    Client, RetryConfig, Timeline,
    dns::{Resolve, Resolver},
};

use crate::Result;
use crate::stage::Net;

/// The two clients that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    Ours,
    Reqwest,
}

impl Who {
    pub(crate) const ALL: [Self; 2] = [Self::Ours, Self::Reqwest];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Reqwest => "reqwest",
        }
    }
}

/// A client of one of the two.
#[derive(Clone)]
pub(crate) enum Caller {
    Ours(Box<Client>),
    Reqwest(reqwest::Client),
}

/// The outcome of a call.
pub(crate) struct Called {
    /// Its attempts, as far as they are known: the time since the begin of the call, and the address.
    pub(crate) attempts: Vec<(Duration, IpAddr)>,
    /// Why it failed, if it did.
    pub(crate) failure: Option<String>,
}

impl Caller {
    pub(crate) fn new(who: Who, net: &Net) -> Result<Self> {
        let resolver = net.dns.resolver();
        let mut tls = net.authority.client_config();
        Ok(match who {
            Who::Ours => {
                let client = Client::builder(DEADLINE)
                    .config(|config| config.retry(RetryConfig::new().attempts(3)))
                    .transport(|transport| transport.tls(tls).resolver(resolver));
                Self::Ours(Box::new(client.build()?))
            }
            Who::Reqwest => {
                tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
                let client = reqwest::Client::builder()
                    .tls_backend_preconfigured(tls)
                    .dns_resolver(Asking(resolver))
                    .no_proxy()
                    .timeout(DEADLINE);
                Self::Reqwest(client.build()?)
            }
        })
    }

    pub(crate) async fn call(&self, url: &str) -> Called {
        match self {
            Self::Ours(client) => ours(client, url).await,
            Self::Reqwest(client) => plain(client, url).await,
        }
    }
}

async fn ours(client: &Client, url: &str) -> Called {
    let received = async {
        let response = client.get(url).send().await?.error_for_status()?;
        let timeline = response.timeline().cloned();
        response.bytes().await?;
        Ok::<_, sevenhops::Error>(timeline)
    };
    let (timeline, failure) = match received.await {
        Ok(timeline) => (timeline, None),
        Err(error) => {
            let told = error.timeline().map(Timeline::to_string);
            let failure = format!("{error}\n{}", told.unwrap_or_default());
            (error.timeline().cloned(), Some(failure))
        }
    };
    let attempts = timeline.iter().flat_map(Timeline::attempts);
    let attempts =
        attempts.filter_map(|attempt| Some((attempt.start(), attempt.peer_addr()?.ip())));
    Called {
        attempts: attempts.collect(),
        failure,
    }
}

async fn plain(client: &reqwest::Client, url: &str) -> Called {
    let received = async {
        let response = client.get(url).send().await?.error_for_status()?;
        response.bytes().await
    };
    let failure = received.await.err().map(|error| {
        let mut last: &dyn StdError = &error;
        while let Some(cause) = last.source() {
            last = cause;
        }
        last.to_string()
    });
    Called {
        attempts: Vec::new(),
        failure,
    }
}

/// Lets reqwest ask the scripted name server, too. Otherwise it could not find the name.
struct Asking(Resolver);

impl reqwest::dns::Resolve for Asking {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let asking = self.0.resolve(name.as_str());
        Box::pin(async move {
            let answer = asking.answer().await?;
            let addresses = answer.addresses().iter().map(|ip| (*ip, 0).into());
            let addresses: Vec<_> = addresses.collect();
            let addresses: reqwest::dns::Addrs = Box::new(addresses.into_iter());
            Ok(addresses)
        })
    }
}

pub(crate) const DEADLINE: Duration = Duration::from_secs(5);
