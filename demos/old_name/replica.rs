//! Three replicas of a profile service. A write reaches the other two after 46 ms.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

/// The versions of each user's name, at one replica.
type Names = Arc<Mutex<HashMap<String, u64>>>;

/// The replicas, at one port of three addresses.
pub(crate) struct Replicas {
    pub(crate) port: u16,
    tasks: HashMap<Ipv4Addr, JoinHandle<()>>,
}

impl Replicas {
    pub(crate) async fn start() -> io::Result<Self> {
        let names = ADDRESSES.map(|_| Names::default());
        let (mut port, mut tasks) = (0, HashMap::new());
        for (own, address) in ADDRESSES.into_iter().enumerate() {
            let listener = TcpListener::bind(SocketAddr::new(address.into(), port)).await?;
            port = listener.local_addr()?.port();
            let replica = Replica {
                names: names.clone(),
                own,
            };
            tasks.insert(address, tokio::spawn(replica.serve(listener)));
        }
        Ok(Self { port, tasks })
    }

    /// Stops a replica: its port refuses, and its connections end.
    pub(crate) fn stop(&self, address: Ipv4Addr) {
        if let Some(task) = self.tasks.get(&address) {
            task.abort();
        }
    }
}

#[derive(Clone)]
struct Replica {
    names: [Names; 3],
    own: usize,
}

impl Replica {
    async fn serve(self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let replica = self.clone();
            let service = service_fn(move |request| replica.clone().answer(request));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            connections.spawn(connection);
        }
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        sleep(WORK).await;
        let user = request.uri().path().to_owned();
        let version = match *request.method() {
            Method::PUT => self.write(user),
            _ => read(&self.names[self.own], &user),
        };
        Ok(Response::new(Full::from(version.to_string())))
    }

    fn write(self, user: String) -> u64 {
        let version = read(&self.names[self.own], &user) + 1;
        raise(&self.names[self.own], &user, version);
        tokio::spawn(async move {
            sleep(REPLICATION).await;
            for names in &self.names {
                raise(names, &user, version);
            }
        });
        version
    }
}

fn read(names: &Names, user: &str) -> u64 {
    let names = names.lock().unwrap_or_else(PoisonError::into_inner);
    names.get(user).copied().unwrap_or_default()
}

fn raise(names: &Names, user: &str, version: u64) {
    let mut names = names.lock().unwrap_or_else(PoisonError::into_inner);
    let known = names.entry(user.to_owned()).or_default();
    *known = version.max(*known);
}

pub(crate) const ADDRESSES: [Ipv4Addr; 3] = [
    Ipv4Addr::new(127, 0, 0, 1),
    Ipv4Addr::new(127, 0, 0, 2),
    Ipv4Addr::new(127, 0, 0, 3),
];
/// As in the chapter: node B applies the update at T = 46 ms.
const REPLICATION: Duration = Duration::from_millis(46);
/// The work of a request. It lets requests overlap.
const WORK: Duration = Duration::from_millis(4);
