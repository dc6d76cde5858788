//! A server that can be slow, and can fail.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

/// The state of a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum State {
    Well,
    /// Three times slower.
    Slow,
    /// Closes the connection instead of responding, one time in three.
    Failing,
}

/// A server at 127.0.0.1, 2 or 3. Dropping it closes it.
pub(crate) struct Zone {
    address: SocketAddr,
    desk: Arc<Desk>,
    task: JoinHandle<()>,
}

struct Desk {
    state: AtomicU64,
    requests: AtomicUsize,
}

impl Zone {
    /// Starts the zone with this number, on this port or on a free one.
    pub(crate) async fn start(number: u8, port: u16) -> io::Result<Self> {
        let address = SocketAddr::new(address(number), port);
        let listener = TcpListener::bind(address).await?;
        let desk = Arc::new(Desk {
            state: AtomicU64::new(State::Well as u64),
            requests: AtomicUsize::new(0),
        });
        Ok(Self {
            address: listener.local_addr()?,
            desk: Arc::clone(&desk),
            task: tokio::spawn(listen(listener, desk)),
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn turn(&self, state: State) {
        self.desk.state.store(state as u64, Ordering::Relaxed);
    }

    /// Returns how many requests have come since the last call of this function.
    pub(crate) fn requests(&self) -> usize {
        self.desk.requests.swap(0, Ordering::Relaxed)
    }
}

impl Drop for Zone {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) fn address(number: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, number).into()
}

async fn listen(listener: TcpListener, desk: Arc<Desk>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        if let Ok((tcp, _)) = accepted {
            connections.spawn(attend(tcp, Arc::clone(&desk)));
        }
    }
}

/// Responds to GETs, which end with their heads, until either side closes.
async fn attend(mut tcp: TcpStream, desk: Arc<Desk>) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let mut head = Vec::new();
    while tcp.read_buf(&mut head).await? > 0 {
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        head.clear();
        desk.requests.fetch_add(1, Ordering::Relaxed);
        let state = desk.state.load(Ordering::Relaxed);
        let takes = match state == State::Slow as u64 {
            true => WELL * 3,
            false => WELL,
        };
        sleep(takes).await;
        if state == State::Failing as u64 && fastrand::u8(..3) == 0 {
            break;
        }
        tcp.write_all(ANSWER).await?;
    }
    Ok(())
}

/// Long enough, so that the time which this machine adds does not matter.
const WELL: Duration = Duration::from_millis(40);
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
