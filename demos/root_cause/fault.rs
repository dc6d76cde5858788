//! The faults behind the last service, each at another hop.

use std::sync::Arc;

use sevenhops::testing::{ClosedPort, DnsScript, FaultServer, Reply, ScriptedDns, TestCa};

use crate::process::{Next, Outcome};

/// A way to break the deepest call.
pub(crate) struct Fault {
    /// The path that every service is asked for.
    pub(crate) path: &'static str,
    /// The fault in words.
    pub(crate) what: &'static str,
    /// The hop and the kind that a trace has to show.
    pub(crate) shown: (&'static str, &'static str),
}

/// In the order of the hops.
pub(crate) const FAULTS: [Fault; 5] = [
    Fault {
        path: "/dns",
        what: "its name servers are down",
        shown: ("dns", "server failure"),
    },
    Fault {
        path: "/connect",
        what: "no process listens on its port",
        shown: ("connect", "refused"),
    },
    Fault {
        path: "/tls",
        what: "its certificate has expired",
        shown: ("tls", "certificate expired"),
    },
    Fault {
        path: "/silence",
        what: "it takes the request and keeps silent",
        shown: ("server", "timeout"),
    },
    Fault {
        path: "/truncated",
        what: "its response breaks off",
        shown: ("receive", "incomplete"),
    },
];

/// The servers behind the last service: for each path, one with that fault.
pub(crate) async fn far_side(dns: &ScriptedDns, authority: &TestCa) -> Outcome<Next> {
    let nobody = ClosedPort::new()?;
    let expired = authority.issue_expired(&["tls.test"])?;
    let expired = FaultServer::builder().tls(expired).start().await?;
    let [silent, breaking] = [
        FaultServer::builder().start().await?,
        FaultServer::builder().start().await?,
    ];
    silent.default_reply(Reply::Silent);
    breaking.default_reply(Reply::TruncateBody {
        declared: 100,
        sent: "{\"ok\":".into(),
    });
    dns.set("dns.test", DnsScript::ServFail);
    for name in ["connect.test", "tls.test", "silence.test", "truncated.test"] {
        dns.set(name, DnsScript::addresses([[127, 0, 0, 1].into()]));
    }
    Ok(Arc::new(move |path| {
        let (scheme, port) = match path {
            "/connect" => ("http", nobody.addr().port()),
            "/tls" => ("https", expired.addr().port()),
            "/silence" => ("http", silent.addr().port()),
            "/truncated" => ("http", breaking.addr().port()),
            _ => ("http", 80),
        };
        format!("{scheme}://{}.test:{port}/", path.trim_start_matches('/'))
    }))
}
