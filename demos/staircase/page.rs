//! The page: its visitor waits for the responses of six services.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sevenhops::{Client, Error, Options};
use tokio::net::TcpListener;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::service::time_left;

/// A service, as the page knows it: its name and its place.
pub(crate) type Door = (&'static str, String);

/// The page's server; it listens until it is dropped.
pub(crate) struct Page {
    address: SocketAddr,
    listening: JoinHandle<()>,
}

/// The calls of one visit.
pub(crate) struct Visit {
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
    /// The time left, as the visitor said.
    pub(crate) told: Option<Duration>,
    /// The service of each call, and the time when the call began.
    pub(crate) begun: Vec<(&'static str, Instant)>,
}

/// The state of the page.
pub(crate) struct Desk {
    pub(crate) client: Client,
    pub(crate) doors: Vec<Door>,
    pub(crate) visits: UnboundedSender<Visit>,
}

impl Page {
    pub(crate) async fn start(desk: Desk) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let listening = tokio::spawn(listen(listener, Arc::new(desk)));
        Ok(Self { address, listening })
    }

    pub(crate) fn url(&self, at_once: bool) -> String {
        let path = if at_once { AT_ONCE } else { "/in-turn" };
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(listener: TcpListener, desk: Arc<Desk>) {
    while let Ok((stream, _)) = listener.accept().await {
        let desk = Arc::clone(&desk);
        let service = service_fn(move |request| answer(Arc::clone(&desk), request));
        let connection = hyper::server::conn::http1::Builder::new();
        tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(
    desk: Arc<Desk>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    // Only once, because the visitor's time is running.
    let from = Options::new().inherit(request.headers());
    let mut watched = Watched::begin(&desk, request.headers());
    let asked = match request.uri().path() {
        AT_ONCE => at_once(&desk, &from, &mut watched).await,
        _ => in_turn(&desk, &from, &mut watched).await,
    };
    let mut response = Response::new(Full::default());
    if asked.is_err() {
        *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
    }
    Ok(response)
}

/// Asks one service after the other, as code does that ignores the problem.
async fn in_turn(desk: &Desk, from: &Options, watched: &mut Watched) -> Result<(), Error> {
    for door in &desk.doors {
        watched.begins(door.0);
        ask(&desk.client, door, from).await?;
    }
    Ok(())
}

/// Asks all services at once, then waits.
async fn at_once(desk: &Desk, from: &Options, watched: &mut Watched) -> Result<(), Error> {
    let mut asking = JoinSet::new();
    for door in desk.doors.clone() {
        watched.begins(door.0);
        let (client, from) = (desk.client.clone(), from.clone());
        asking.spawn(async move { ask(&client, &door, &from).await });
    }
    asking.join_all().await.into_iter().collect()
}

/// Makes one call, which has as much time as the visitor has left.
async fn ask(client: &Client, (name, url): &Door, from: &Options) -> Result<(), Error> {
    let asked = client.get(url).options(|_| from.clone().route(*name));
    asked.fetch_bytes().await.map(drop)
}

/// Reports a visit when it is over, also if the visitor went away.
struct Watched {
    visit: Option<Visit>,
    visits: UnboundedSender<Visit>,
}

impl Watched {
    fn begin(desk: &Desk, from: &HeaderMap) -> Self {
        let now = Instant::now();
        let visit = Visit {
            began: now,
            ended: now,
            told: time_left(from),
            begun: Vec::new(),
        };
        Self {
            visit: Some(visit),
            visits: desk.visits.clone(),
        }
    }

    fn begins(&mut self, name: &'static str) {
        let begun = self.visit.as_mut().map(|visit| &mut visit.begun);
        begun
            .into_iter()
            .for_each(|begun| begun.push((name, Instant::now())));
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(mut visit) = self.visit.take() {
            visit.ended = Instant::now();
            // The receiver is gone when the demo is over.
            let _ = self.visits.send(visit);
        }
    }
}

const AT_ONCE: &str = "/at-once";
