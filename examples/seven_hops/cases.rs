//! The faults: how each is caused, and how it has to be named.

use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use sevenhops::{
    Effect, Hop, Kind, TimeoutsConfig,
    testing::{
        BlackHole, CannedResponse, ClosedPort, ConnFault, DnsScript, ProxyServer, Reply, TestCa,
    },
};

use super::world::{Broken, Connection, PATH, Result, Shape, Stage, World};

/// One fault on one kind of connection.
pub(crate) struct Case {
    pub(crate) fault: &'static str,
    pub(crate) story: &'static str,
    pub(crate) connection: Connection,
    pub(crate) expected: (Hop, Kind, Effect),
    pub(crate) repeat: Repeat,
    pub(crate) setting: Setting,
}

/// Whether the crate retries the fault by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Retried for any method: the request provably had no effect, and the fault is transient.
    Yes,
    /// Retried only for an idempotent method or an honored key. The calls here have neither.
    Idem,
    No,
}

/// How the fault is caused.
#[derive(Clone)]
pub(crate) enum Setting {
    Dns(DnsScript),
    Port(Port),
    Handshake(Handshake),
    Connection(ConnFault),
    /// The server closes the connection before the request is handed to it.
    ClosedBefore,
    Request(Reply),
    /// The same, with a body of ten megabytes.
    LargeRequest(Reply),
    StreamLimit,
    Proxy(u16),
    Unwritable(Broken),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Port {
    Closed,
    BlackHole,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Handshake {
    UnknownIssuer,
    WrongName,
    Expired,
}

impl Case {
    /// Sets up the stage of the fault.
    pub(crate) async fn stage(&self, world: &World) -> Result<Stage> {
        match &self.setting {
            Setting::Dns(script) => {
                let name = world.name();
                world.dns.set(&name, script.clone());
                let mut stage = world.bare_stage(&name, "https", ([127, 0, 0, 1], 443).into());
                stage.address = None;
                Ok(stage)
            }
            Setting::Port(port) => nobody(*port, world).await,
            Setting::Handshake(handshake) => {
                let stage = world.stage(self.connection, true).await?;
                let name = stage.url.trim_start_matches("https://");
                let name = name.split(':').next().unwrap_or_default();
                let wrong = match handshake {
                    Handshake::UnknownIssuer => TestCa::new()?.issue(&[name])?,
                    Handshake::WrongName => world.authority.issue(&["other.test"])?,
                    Handshake::Expired => world.authority.issue_expired(&[name])?,
                };
                Ok(stage.with_connection(ConnFault::WrongCertificate(wrong)))
            }
            Setting::Connection(fault) => {
                let stage = world.stage(self.connection, true).await?;
                Ok(stage.with_connection(fault.clone()))
            }
            Setting::ClosedBefore => {
                let stage = world.stage(self.connection, true).await?;
                Ok(stage.with_connection(ConnFault::CloseAfterHandshake))
            }
            Setting::Request(reply) => {
                let stage = world.stage(self.connection, true).await?;
                Ok(stage.with_reply(reply))
            }
            Setting::LargeRequest(reply) => {
                let mut stage = world.stage(self.connection, true).await?;
                stage.shape.body_bytes = 10 << 20;
                Ok(stage.with_reply(reply))
            }
            Setting::StreamLimit => {
                let mut stage = world.stage(self.connection, true).await?;
                let short = TimeoutsConfig::new().attempt(Duration::from_millis(600));
                stage.client = world.client_with(|builder| {
                    let builder = builder.config(|config| config.timeouts(short));
                    builder.transport(|transport| transport.max_connections(1))
                })?;
                occupied(stage.with_connection(ConnFault::MaxStreams(1))).await
            }
            Setting::Proxy(status) => {
                let mut stage = world.stage(self.connection, true).await?;
                let proxy = ProxyServer::builder()
                    .refuse(StatusCode::from_u16(*status)?)
                    .start()
                    .await?;
                stage.client = world.client_with(|builder| {
                    builder.transport(|transport| transport.proxy(proxy.url()))
                })?;
                stage.proxy = Some(proxy.url());
                stage.keep.push(Box::new(proxy));
                Ok(stage)
            }
            Setting::Unwritable(broken) => {
                let mut stage = world.stage(self.connection, true).await?;
                stage.shape = Shape {
                    body_bytes: 32,
                    broken: Some(*broken),
                };
                Ok(stage)
            }
        }
    }
}

async fn nobody(port: Port, world: &World) -> Result<Stage> {
    let (name, _) = world.host()?;
    match port {
        Port::Closed => {
            let port = ClosedPort::new()?;
            let mut stage = world.bare_stage(&name, "https", port.addr());
            stage.keep.push(Box::new(port));
            Ok(stage)
        }
        Port::BlackHole => {
            let hole = BlackHole::start().await?;
            let mut stage = world.bare_stage(&name, "https", hole.addr());
            stage.keep.push(Box::new(hole));
            Ok(stage)
        }
    }
}

/// Lets another call take the only stream of the connection and keep it, and a second one wait for it in HTTP/2's own
/// queue. The connection does not take the next call at all.
async fn occupied(mut stage: Stage) -> Result<Stage> {
    // The first response proves that the peer's settings have arrived.
    let first = stage.client.get(&stage.url).send().await?;
    first.bytes().await?;
    if let Some(server) = &stage.server {
        server.on_request([Reply::StallInBody {
            declared: 100,
            sent: Bytes::from_static(b"half"),
        }]);
        let other = stage.url.replace(PATH, "/occupant");
        // It holds its stream until its body is read.
        let occupant = stage.client.get(&other).send().await?;
        stage.keep.push(Box::new(Mutex::new(occupant)));
    }
    Ok(stage)
}

impl Stage {
    fn with_connection(self, fault: ConnFault) -> Self {
        if let Some(server) = &self.server {
            server.on_connection([fault]);
        }
        self
    }

    fn with_reply(self, reply: &Reply) -> Self {
        if let Some(server) = &self.server {
            let good = Reply::from(CannedResponse::default());
            let before = self.primed.then_some(good);
            server.on_request(before.into_iter().chain([reply.clone()]));
        }
        self
    }
}

/// Returns every fault, on every connection where it makes sense.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = before_the_request();
    cases.extend(on_the_way());
    cases.extend(http2_only());
    cases.extend(by_status());
    cases.extend(at_the_ends());
    cases
}

const EVERY: [Connection; 3] = [Connection::Fresh, Connection::Pooled, Connection::Http2];
const FRESH: [Connection; 1] = [Connection::Fresh];
const HTTP2: [Connection; 1] = [Connection::Http2];

/// A row of the table: fault, story, setting, expected name, and whether it is retried.
type Row = (
    &'static str,
    &'static str,
    Setting,
    (Hop, Kind, Effect),
    Repeat,
);

fn on(connections: &[Connection], rows: Vec<Row>) -> Vec<Case> {
    let mut cases = Vec::new();
    for (fault, story, setting, expected, repeat) in rows {
        cases.extend(connections.iter().map(|connection| Case {
            fault,
            story,
            connection: *connection,
            expected,
            repeat,
            setting: setting.clone(),
        }));
    }
    cases
}

#[rustfmt::skip] // a table
fn before_the_request() -> Vec<Case> {
    use Effect::None;
    use Hop::{Connect, Dns, Send, Tls};
    use Setting::{Connection, Handshake as Shake, Port as At, Proxy};
    let mut cases = on(&FRESH, vec![
        ("F1", "DNS answers NXDOMAIN", Setting::Dns(DnsScript::NxDomain), (Dns, Kind::NotFound, None), Repeat::No),
        ("F2", "DNS answers SERVFAIL", Setting::Dns(DnsScript::ServFail), (Dns, Kind::ServerFailure, None), Repeat::Yes),
        ("F3", "DNS never answers", Setting::Dns(DnsScript::Silent), (Dns, Kind::Timeout, None), Repeat::Yes),
        ("F4", "the name has no address", Setting::Dns(DnsScript::NoRecords), (Dns, Kind::NoRecords, None), Repeat::No),
        ("F5", "no process listens on the port", At(Port::Closed), (Connect, Kind::Refused, None), Repeat::Yes),
        ("F6", "the SYN is swallowed", At(Port::BlackHole), (Connect, Kind::Timeout, None), Repeat::Yes),
        ("F7", "accepts, never speaks TLS", Connection(ConnFault::Silent), (Tls, Kind::Timeout, None), Repeat::Yes),
        ("F8", "plain HTTP on the TLS port", Connection(ConnFault::PlainHttp), (Tls, Kind::ProtocolError, None), Repeat::No),
        ("F9", "no trusted authority signed the certificate", Shake(Handshake::UnknownIssuer), (Tls, Kind::CertificateUnknownIssuer, None), Repeat::No),
        ("F10a", "the certificate is for another name", Shake(Handshake::WrongName), (Tls, Kind::CertificateWrongName, None), Repeat::No),
        ("F10b", "the certificate has run out", Shake(Handshake::Expired), (Tls, Kind::CertificateExpired, None), Repeat::No),
        ("F11", "fatal alert handshake_failure", Connection(ConnFault::TlsAlert), (Tls, Kind::Alert, None), Repeat::No),
        ("F15b", "the fresh connection closes at once", Setting::ClosedBefore, (Send, Kind::Closed, None), Repeat::Yes),
        ("F31", "the proxy answers 502 to CONNECT", Proxy(502), (Connect, Kind::ProxyRefused, None), Repeat::Yes),
        ("F31", "the proxy answers 403 to CONNECT", Proxy(403), (Connect, Kind::ProxyDenied, None), Repeat::No),
        ("F31", "the proxy answers 407 to CONNECT", Proxy(407), (Connect, Kind::ProxyUnauthorized, None), Repeat::No),
    ]);
    cases.extend(on(&HTTP2, vec![
        ("F7", "accepts, never speaks TLS", Connection(ConnFault::Silent), (Tls, Kind::Timeout, None), Repeat::Yes),
        ("F16b", "waits behind the peer's stream limit", Setting::StreamLimit, (Connect, Kind::ConnectionLimit, None), Repeat::Yes),
    ]));
    cases
}

#[rustfmt::skip] // a table
fn on_the_way() -> Vec<Case> {
    use Effect::{Done, Possible};
    use Hop::{Receive, Send, Server};
    use Setting::{LargeRequest, Request};
    let some = Bytes::from_static(&[b' '; 50]);
    let stall = Reply::StallInBody { declared: 100, sent: some.clone() };
    let short = Reply::TruncateBody { declared: 100, sent: some };
    on(&EVERY, vec![
        ("F12", "the server stops reading", LargeRequest(Reply::StopReading), (Send, Kind::Timeout, Possible), Repeat::Idem),
        ("F13", "RST while the body goes out", LargeRequest(Reply::ResetWhileReading), (Send, Kind::Reset, Possible), Repeat::Idem),
        ("F13b", "RST after a small body went out", Request(Reply::ResetAfterRequest), (Server, Kind::Closed, Possible), Repeat::Idem),
        ("F14", "takes the request, never answers", Request(Reply::Silent), (Server, Kind::Timeout, Possible), Repeat::Idem),
        ("F15", "takes the request, closes without a byte", Request(Reply::CloseAfterRequest), (Server, Kind::Closed, Possible), Repeat::Idem),
        ("F17", "answers garbage", Request(Reply::garbage()), (Server, Kind::ProtocolError, Possible), Repeat::No),
        ("F18", "head, then the body stalls", Request(stall), (Receive, Kind::Timeout, Done), Repeat::Idem),
        ("F19", "100 bytes announced, 50 sent", Request(short), (Receive, Kind::Incomplete, Done), Repeat::Idem),
    ])
}

#[rustfmt::skip] // a table
fn http2_only() -> Vec<Case> {
    use Effect::{None, Possible};
    use Hop::Server;
    use Setting::Request;
    use h2::Reason;
    on(&HTTP2, vec![
        ("F20", "RST_STREAM(REFUSED_STREAM)", Request(Reply::ResetStream(Reason::REFUSED_STREAM)), (Server, Kind::Unprocessed, None), Repeat::Yes),
        ("F21", "GOAWAY(NO_ERROR) below our stream", Request(Reply::GoAwayBelow(Reason::NO_ERROR)), (Server, Kind::Unprocessed, None), Repeat::Yes),
        ("F21", "GOAWAY(INTERNAL_ERROR) below our stream", Request(Reply::GoAwayBelow(Reason::INTERNAL_ERROR)), (Server, Kind::Unprocessed, None), Repeat::Yes),
        ("F22", "GOAWAY at our stream, then close", Request(Reply::GoAwayAtOrAbove), (Server, Kind::Closed, Possible), Repeat::Idem),
        ("F23", "RST_STREAM(CANCEL)", Request(Reply::ResetStream(Reason::CANCEL)), (Server, Kind::Reset, Possible), Repeat::Idem),
        ("F23", "RST_STREAM(INTERNAL_ERROR)", Request(Reply::ResetStream(Reason::INTERNAL_ERROR)), (Server, Kind::Reset, Possible), Repeat::Idem),
    ])
}

fn status(code: StatusCode, headers: &[(&str, &str)]) -> Setting {
    let answer = CannedResponse::new(code);
    Setting::Request(Reply::from(
        headers
            .iter()
            .fold(answer, |answer, (name, value)| answer.header(name, value)),
    ))
}

#[rustfmt::skip] // a table
fn by_status() -> Vec<Case> {
    use Effect::{Declined, Possible};
    use Hop::{Gateway, Server};
    let early = Reply::EarlyAnswer(CannedResponse::new(StatusCode::PAYLOAD_TOO_LARGE));
    let mut cases = on(&EVERY, vec![
        ("F24a", "502", status(StatusCode::BAD_GATEWAY, &[]), (Gateway, Kind::BadGateway, Possible), Repeat::Idem),
        ("F24a", "504", status(StatusCode::GATEWAY_TIMEOUT, &[]), (Gateway, Kind::Timeout, Possible), Repeat::Idem),
        ("F24a", "503 with Via", status(StatusCode::SERVICE_UNAVAILABLE, &[("via", "1.1 edge")]), (Gateway, Kind::Unavailable, Possible), Repeat::Idem),
        ("F24b", "500", status(StatusCode::INTERNAL_SERVER_ERROR, &[]), (Server, Kind::ServerError, Possible), Repeat::Idem),
        ("F24b", "503 without a gateway's marks", status(StatusCode::SERVICE_UNAVAILABLE, &[]), (Server, Kind::Unavailable, Possible), Repeat::Idem),
        ("F24c", "429 with Retry-After", status(StatusCode::TOO_MANY_REQUESTS, &[("retry-after", "1")]), (Server, Kind::Throttled, Declined), Repeat::Yes),
        ("F24d", "401", status(StatusCode::UNAUTHORIZED, &[]), (Server, Kind::Unauthorized, Declined), Repeat::No),
        ("F24d", "403", status(StatusCode::FORBIDDEN, &[]), (Server, Kind::Unauthorized, Declined), Repeat::No),
    ]);
    cases.extend(on(&EVERY, vec![
        ("F24e", "413 while the body still goes out", Setting::LargeRequest(early), (Server, Kind::ClientError, Declined), Repeat::No),
    ]));
    cases
}

#[rustfmt::skip] // a table
fn at_the_ends() -> Vec<Case> {
    use Effect::{Done, None};
    use Hop::{Decode, Encode};
    use Setting::{Request, Unwritable};
    let text = Reply::from(CannedResponse::default().body("<html>"));
    let corrupt = Reply::from(CannedResponse::default().header("content-encoding", "gzip").body("no gzip"));
    let mut cases = on(&EVERY, vec![
        ("F33", "200, and the body is not JSON", Request(text), (Decode, Kind::Malformed, Done), Repeat::No),
        ("F33", "200, and the gzip stream is corrupt", Request(corrupt), (Decode, Kind::Malformed, Done), Repeat::No),
    ]);
    cases.extend(on(&FRESH, vec![
        ("F34", "a header that is none", Unwritable(Broken::Header), (Encode, Kind::InvalidRequest, None), Repeat::No),
        ("F34", "a body that does not serialize", Unwritable(Broken::Body), (Encode, Kind::InvalidRequest, None), Repeat::No),
    ]));
    cases
}
