//! The network that the tests share.
#![allow(
    clippy::allow_attributes,
    dead_code,
    reason = "no journey needs all of it"
)]

use std::time::Duration;

use sevenhops::testing::{DnsScript, FaultServer, ScriptedDns, TestCa};
use sevenhops::{Client, ClientBuilder};

/// A name server, a certificate authority, and clients that use both.
pub(crate) struct Net {
    pub(crate) authority: TestCa,
    pub(crate) dns: ScriptedDns,
}

impl Net {
    pub(crate) async fn new() -> Self {
        let dns = ScriptedDns::start().await.unwrap();
        dns.set("api.test", DnsScript::addresses([[127, 0, 0, 1].into()]));
        let authority = TestCa::new().unwrap();
        Self { authority, dns }
    }

    pub(crate) fn builder(&self) -> ClientBuilder {
        Client::builder(Duration::from_secs(10)).transport(|transport| {
            transport
                .tls(self.authority.client_config())
                .resolver(self.dns.resolver())
        })
    }

    pub(crate) fn client(&self) -> Client {
        self.builder().build().unwrap()
    }

    /// Starts a server that uses HTTP/2 over TLS.
    pub(crate) async fn http2(&self) -> FaultServer {
        self.http2_of(&["api.test"]).await
    }

    /// Does the same for a server with these names.
    pub(crate) async fn http2_of(&self, names: &[&str]) -> FaultServer {
        let identity = self.authority.issue(names).unwrap();
        let server = FaultServer::builder().tls(identity).http2();
        server.start().await.unwrap()
    }
}

/// Returns the URL of the payments API on a server.
pub(crate) fn url(server: &FaultServer, scheme: &str) -> String {
    format!("{scheme}://api.test:{}/v1/charges", server.addr().port())
}
