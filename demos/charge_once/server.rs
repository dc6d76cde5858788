//! The payments service: HTTP/1.1 on a loopback socket. It fails in every way that [`Fate`] and [`Door`] list.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::Result;
use crate::fate::{Door, Fate};
use crate::ledger::{Charge, Ledger, Repeats, Word};

pub(crate) struct Server {
    address: SocketAddr,
    ledger: Arc<Ledger>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
    /// Bound, but never listens. It keeps the port for us while the door is shut.
    _port: TcpSocket,
}

impl Server {
    pub(crate) fn start(seed: u64, repeats: Repeats) -> io::Result<Self> {
        let port = bound((Ipv4Addr::LOCALHOST, 0).into())?;
        let address = port.local_addr()?;
        let ledger = Arc::new(Ledger::new(repeats));
        let desk = Desk {
            seed,
            ledger: Arc::clone(&ledger),
        };
        let (stop, stopped) = oneshot::channel();
        let listener = bound(address)?.listen(BACKLOG)?;
        Ok(Self {
            address,
            ledger,
            stop,
            task: tokio::spawn(listen(listener, desk, stopped)),
            _port: port,
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops, and returns the books when no work is left. A request that its client gave up may still be charged.
    pub(crate) async fn close(self) -> Result<Arc<Ledger>> {
        let _ = self.stop.send(());
        timeout(PATIENCE, self.task)
            .await
            .map_err(|_| "a connection of the client is still open")???;
        Ok(self.ledger)
    }
}

#[derive(Clone)]
struct Desk {
    seed: u64,
    ledger: Arc<Ledger>,
}

fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

async fn listen(
    mut listener: TcpListener,
    desk: Desk,
    mut stopped: oneshot::Receiver<()>,
) -> io::Result<()> {
    let address = listener.local_addr()?;
    let mut connections = JoinSet::new();
    let mut ordinal = 0;
    loop {
        let (tcp, _) = tokio::select! {
            accepted = listener.accept() => accepted?,
            Some(_) = connections.join_next() => continue,
            _ = &mut stopped => break,
        };
        ordinal += 1;
        match Door::of(desk.seed, ordinal) {
            Door::Welcome => {
                connections.spawn(serve(tcp, desk.clone()));
            }
            Door::Slammed => {
                desk.ledger.count(|counts| counts.slammed += 1);
                reset(tcp);
            }
            Door::Shut => {
                desk.ledger.count(|counts| counts.shut += 1);
                reset(tcp);
                drop(listener);
                sleep(SHUT).await;
                listener = bound(address)?.listen(BACKLOG)?;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// Takes one request after the other. Fails when the client has left.
async fn serve(tcp: TcpStream, desk: Desk) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let mut conversation = Conversation {
        tcp,
        unread: BytesMut::new(),
    };
    while let Some(request) = conversation.request().await? {
        let Request { charge, key } = &request;
        let visit = desk.ledger.arrive(charge, key.as_deref());
        let fate = Fate::of(desk.seed, charge.order, visit);
        match fate {
            Fate::Reset => {
                desk.ledger.count(|counts| counts.reset += 1);
                reset(conversation.tcp);
                return Ok(());
            }
            Fate::Unavailable => {
                desk.ledger.count(|counts| counts.unavailable += 1);
                conversation.answer(&Answer::status(503)).await?;
                continue;
            }
            Fate::Silent => {
                desk.ledger.count(|counts| counts.silent += 1);
                return conversation.left().await;
            }
            Fate::Slow
            | Fate::Lost { .. }
            | Fate::BrokenOff
            | Fate::AnswerThenClose
            | Fate::Answer => {}
        }
        let answer = work(&request, fate, &desk.ledger).await;
        if !conversation.deliver(&answer, fate, &desk.ledger).await? {
            return Ok(());
        }
    }
    Ok(())
}

/// Does the work of a request, or responds why not.
async fn work(Request { charge, key }: &Request, fate: Fate, ledger: &Ledger) -> Answer {
    match ledger.begin(charge, key.as_deref()) {
        Word::Begin => {
            if fate == Fate::Slow {
                sleep(SLOW).await;
            }
            let id = ledger.charge(charge, key.as_deref());
            Answer {
                first: true,
                ..Answer::charged(&id)
            }
        }
        Word::Replay(id) => Answer {
            replayed: true,
            ..Answer::charged(&id)
        },
        Word::InProgress => Answer::status(409),
        Word::KeyReused => Answer::status(422),
        Word::Declined => Answer::status(402),
        Word::Paid => Answer::status(PAID[charge.order as usize % PAID.len()]),
    }
}

struct Request {
    charge: Charge,
    key: Option<String>,
}

struct Answer {
    status: u16,
    body: String,
    /// Whether the response is about a charge that was made just now, or about an earlier one.
    first: bool,
    replayed: bool,
}

impl Answer {
    fn status(status: u16) -> Self {
        Self {
            status,
            body: "{}".to_owned(),
            first: false,
            replayed: false,
        }
    }

    fn charged(id: &str) -> Self {
        Self {
            body: format!(r#"{{"id":"{id}"}}"#),
            ..Self::status(200)
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let Self { status, body, .. } = self;
        let replayed = match self.replayed {
            true => "idempotent-replayed: true\r\n",
            false => "",
        };
        let length = body.len();
        format!("HTTP/1.1 {status} -\r\n{replayed}content-length: {length}\r\n\r\n{body}").into()
    }
}

struct Conversation {
    tcp: TcpStream,
    unread: BytesMut,
}

impl Conversation {
    /// Reads the next request to its last byte. Returns `None` if the client has left.
    async fn request(&mut self) -> io::Result<Option<Request>> {
        loop {
            if let Some(request) = self.parse()? {
                return Ok(Some(request));
            }
            if self.tcp.read_buf(&mut self.unread).await? == 0 {
                return Ok(None);
            }
        }
    }

    fn parse(&mut self) -> io::Result<Option<Request>> {
        let Some((head, body)) = measure(&self.unread) else {
            return Ok(None);
        };
        let charge = serde_json::from_slice(&self.unread[body.clone()])?;
        let key = header(&head, "idempotency-key").map(str::to_owned);
        self.unread.advance(body.end);
        Ok(Some(Request { charge, key }))
    }

    /// Sends the response, or does not. Returns whether the connection goes on.
    async fn deliver(&mut self, answer: &Answer, fate: Fate, ledger: &Ledger) -> io::Result<bool> {
        let told = u32::from(answer.first);
        match fate {
            Fate::Lost { .. } | Fate::Slow => {
                ledger.count(|counts| counts.lost += told);
                if fate == (Fate::Lost { reset: true }) {
                    self.tcp.set_zero_linger()?;
                }
                return Ok(false);
            }
            Fate::BrokenOff => {
                ledger.count(|counts| counts.broken_off += told);
                let bytes = answer.to_bytes();
                self.tcp.write_all(&bytes[..bytes.len() - 1]).await?;
                return Ok(false);
            }
            _ => {}
        }
        ledger.count(|counts| counts.replayed += u32::from(answer.replayed));
        self.answer(answer).await?;
        Ok(fate != Fate::AnswerThenClose)
    }

    async fn answer(&mut self, answer: &Answer) -> io::Result<()> {
        self.tcp.write_all(&answer.to_bytes()).await
    }

    /// Waits until the client has left.
    async fn left(&mut self) -> io::Result<()> {
        while self.tcp.read_buf(&mut self.unread).await? > 0 {}
        Ok(())
    }
}

/// Returns the head of the next message and the place of its body, when the whole message has come.
pub(crate) fn measure(unread: &[u8]) -> Option<(String, Range<usize>)> {
    let end = unread.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&unread[..end]).into_owned();
    let length = header(&head, "content-length").and_then(|length| length.parse().ok());
    let body = end + 4..end + 4 + length.unwrap_or(0);
    (unread.len() >= body.end).then_some((head, body))
}

fn header<'h>(head: &'h str, wanted: &str) -> Option<&'h str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    let found = fields.find(|(name, _)| name.eq_ignore_ascii_case(wanted));
    found.map(|(_, value)| value.trim())
}

/// Closes with RST.
fn reset(tcp: TcpStream) {
    // An error means that the peer was faster.
    let _ = tcp.set_zero_linger();
}

/// More than all callers together open at once.
const BACKLOG: u32 = 256;
/// Long enough for several callers to be refused.
const SHUT: Duration = Duration::from_millis(30);
/// Longer than the client waits for one attempt, and shorter than it waits in all. So its next attempt finds the key
/// still in use.
const SLOW: Duration = Duration::from_millis(600);
/// Requests in progress when the last caller is done end long before this.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// The statuses of services for an order that is paid already.
const PAID: [u16; 3] = [409, 400, 403];
