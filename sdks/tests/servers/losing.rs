use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};

/// A path to a server on which a response can be lost after the work was done.
pub(crate) struct Losing {
    port: u16,
    armed: Arc<AtomicBool>,
}

impl Losing {
    pub(crate) async fn to(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let armed = Arc::new(AtomicBool::new(false));
        let loses = Arc::clone(&armed);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await;
                if let Ok(server) = server {
                    tokio::spawn(carry(client, server, Arc::clone(&loses)));
                }
            }
        });
        Self { port, armed }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Loses the whole next response, and closes the connection.
    pub(crate) fn lose_next_answer(&self) {
        self.armed.store(true, Ordering::Release);
    }
}

async fn carry(client: TcpStream, server: TcpStream, loses: Arc<AtomicBool>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = tokio::spawn(async move { copy(&mut from_client, &mut to_server).await });
    let mut answer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from_server.read(&mut answer).await {
        let lost = loses.swap(false, Ordering::AcqRel);
        if lost || to_client.write_all(&answer[..length]).await.is_err() {
            break;
        }
    }
    up.abort();
}
