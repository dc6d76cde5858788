//! The caller: this client, or plain reqwest clients that take turns.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sevenhops::Client;
use sevenhops::testing::{ScriptedDns, TestCa};

use crate::Result;

#[derive(Clone)]
pub(crate) enum Caller {
    Ours(Box<Client>),
    /// One client for each address, and the one whose turn it is.
    Turns(Arc<(Vec<reqwest::Client>, AtomicUsize)>),
}

impl Caller {
    pub(crate) fn ours(dns: &ScriptedDns) -> Result<Self> {
        // Not needed here, and neither are the system's roots.
        let tls = TestCa::new()?.client_config();
        let client = Client::builder(DEADLINE)
            .transport(|transport| transport.tls(tls).resolver(dns.resolver()));
        Ok(Self::Ours(Box::new(client.build()?)))
    }

    pub(crate) fn turns(name: &str, addresses: &[SocketAddr]) -> Result<Self> {
        let tls = TestCa::new()?.client_config();
        let client = |address: &SocketAddr| {
            let client = reqwest::Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .resolve(name, *address)
                .no_proxy()
                .timeout(DEADLINE);
            client.build()
        };
        let clients: reqwest::Result<Vec<_>> = addresses.iter().map(client).collect();
        Ok(Self::Turns(Arc::new((clients?, AtomicUsize::new(0)))))
    }

    pub(crate) async fn call(&self, url: &str) -> Result<()> {
        match self {
            Self::Ours(client) => {
                let response = client.get(url).send().await?;
                response.error_for_status()?.bytes().await?;
            }
            Self::Turns(turns) => {
                let (clients, turn) = &**turns;
                let turn = turn.fetch_add(1, Ordering::Relaxed) % clients.len();
                let response = clients[turn].get(url).send().await?;
                response.error_for_status()?.bytes().await?;
            }
        }
        Ok(())
    }
}

const DEADLINE: Duration = Duration::from_secs(5);
