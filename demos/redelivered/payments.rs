//! The payments service: it honors idempotency keys and keeps the books. It does the work of the first request that it
//! gets, and holds the response back.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub(crate) struct Payments {
    address: SocketAddr,
    ledger: Arc<Ledger>,
    arrived: watch::Receiver<u32>,
}

#[derive(Default)]
struct Ledger(Mutex<Book>);

/// The orders that were charged, and the number of each key's charge.
#[derive(Default)]
struct Book {
    charges: Vec<String>,
    by_key: HashMap<String, usize>,
    replayed: u32,
}

impl Payments {
    pub(crate) async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let ledger = Arc::new(Ledger::default());
        let (counting, arrived) = watch::channel(0);
        let books = Arc::clone(&ledger);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&books), counting.clone()));
            }
        });
        Ok(Self {
            address,
            ledger,
            arrived,
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1/charges", self.address)
    }

    /// Waits until the first charge is in the books. Its response has not been sent yet.
    pub(crate) async fn first_charge(&mut self) {
        let _ = self.arrived.wait_for(|count| *count > 0).await;
    }

    /// Returns how often an order was charged.
    pub(crate) fn charges(&self, order: &str) -> usize {
        let count = |book: &mut Book| book.charges.iter().filter(|of| *of == order).count();
        self.ledger.open(count)
    }

    /// Returns how often the response was that of an earlier charge with the same key.
    pub(crate) fn replayed(&self) -> u32 {
        self.ledger.open(|book| book.replayed)
    }
}

impl Ledger {
    fn open<T>(&self, with: impl FnOnce(&mut Book) -> T) -> T {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the number of the charge, and whether it was made before.
    fn charge(&self, key: &str, order: &str) -> (usize, bool) {
        self.open(|book| {
            if let Some(number) = book.by_key.get(key) {
                book.replayed += 1;
                return (*number, true);
            }
            book.charges.push(order.to_owned());
            let number = book.charges.len();
            book.by_key.insert(key.to_owned(), number);
            (number, false)
        })
    }
}

async fn serve(stream: TcpStream, ledger: Arc<Ledger>, arrived: watch::Sender<u32>) {
    let mut stream = BufReader::new(stream);
    while let Ok(Some((key, order))) = request(&mut stream).await {
        let (number, replayed) = ledger.charge(&key, &order);
        arrived.send_modify(|count| *count += 1);
        if *arrived.borrow() == 1 {
            // It is done, and the response is on its way.
            std::future::pending::<()>().await;
        }
        let body = format!(r#"{{"id":"ch_{number}"}}"#);
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nidempotent-replayed: {replayed}\r\n\r\n{body}"
        );
        if stream.write_all(answer.as_bytes()).await.is_err() {
            break;
        }
    }
}

/// Reads the key and the body of the next request.
async fn request(stream: &mut BufReader<TcpStream>) -> io::Result<Option<(String, String)>> {
    let (mut key, mut length, mut line) = (String::new(), 0, String::new());
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        let lower = line.trim_end().to_ascii_lowercase();
        match lower.split_once(": ") {
            Some(("idempotency-key", value)) => value.clone_into(&mut key),
            Some(("content-length", value)) => length = value.parse().unwrap_or(0),
            _ if lower.is_empty() => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Some((key, String::from_utf8_lossy(&body).into_owned())))
}
