//! An operation around work that is not HTTP: a message broker with a protocol of its own.
//!
//! ```text
//! cargo run -p sevenhops-demos --bin lost_message
//! ```
//!
//! The broker loses a response after it has taken the message, and then it is down. A published message must be there
//! once. If the effect is unknown, the error says so. While the broker is down, callers do not wait for it.

use std::collections::HashSet;
use std::error::Error as StdError;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sevenhops::{
    CircuitBreakerConfig, Effect, Error, Operation, OperationAttempt, OperationConfig,
    OperationError, Policy,
};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

type Result<T, E = Box<dyn StdError + Send + Sync>> = std::result::Result<T, E>;

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let broker = Broker::start().await?;
    let breaker = CircuitBreakerConfig::new().consecutive_failures(3);
    let settings = OperationConfig::new(Duration::from_secs(5)).circuit_breaker(breaker);
    // One for the broker; clones share its circuit and its budget.
    let operation = Operation::from_config("broker", settings)?;

    // The broker recognizes a key that it has seen, so the message is published again after the lost response.
    let publish = operation
        .clone()
        .name("publish")
        .honors_idempotency_keys(true);
    broker.lose_an_answer();
    let paid = publish.run(|attempt| send(broker.address, Some(attempt), "paid"));
    let paid = paid.await;

    // Without a key it is not published again: this might be a second copy.
    let blind = operation.name("publish without a key");
    broker.lose_an_answer();
    let lost = blind.run(|_| send(broker.address, None, "shipped")).await;
    let [paid_count, shipped_count] = ["paid", "shipped"].map(|message| broker.count(message));

    let gone = broker.stop().await;
    let refund = async |attempt| send(gone, Some(attempt), "refunded").await;
    let down = publish.run(refund).await;
    let refused = publish.run(refund).await;

    for ended in [&lost, &down, &refused] {
        show(ended);
    }
    let is = |ended: &Result<(), Error>, effect| {
        ended.as_ref().is_err_and(|error| error.effect() == effect)
    };
    let by_breaker = |error: &Error| error.rejected_by() == Some(Policy::Breaker);
    let claims = [
        ("a lost response: published", paid.is_ok()),
        ("and published once", paid_count == 1),
        (
            "without a key: effect possible",
            is(&lost, Effect::Possible),
        ),
        ("it had happened, and was not retried", shipped_count == 1),
        ("the broker is gone: no effect", is(&down, Effect::None)),
        (
            "then callers do not wait for it",
            refused.is_err_and(|error| by_breaker(&error)),
        ),
    ];
    for (claim, holds) in claims {
        println!("{}  {claim}", if holds { "holds " } else { "FAILED" });
    }
    let all = claims.iter().all(|(_, holds)| *holds);
    Ok(ExitCode::from(u8::from(!all)))
}

/// Stands for an SDK: it connects, sends a line and reads a line.
async fn send(
    broker: SocketAddr,
    attempt: Option<OperationAttempt>,
    message: &str,
) -> Result<(), OperationError> {
    // Without a connection nothing is sent.
    let stream = TcpStream::connect(broker)
        .await
        .map_err(OperationError::not_sent)?;
    let mut stream = BufReader::new(stream);
    let key = attempt
        .as_ref()
        .map_or("-", |attempt| attempt.idempotency_key().as_str());
    // From here on, the effect of a plain error is unknown.
    let line = format!("{key} {message}\n");
    stream.write_all(line.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_line(&mut answer).await?;
    match answer.trim_end() {
        "taken" => Ok(()),
        "" => Err(io::Error::from(ErrorKind::UnexpectedEof))?,
        declined => Err(OperationError::declined(declined.to_owned()).permanent()),
    }
}

fn show(ended: &Result<(), Error>) {
    if let Err(error) = ended {
        println!("{error}");
        if let Some(timeline) = error.timeline() {
            println!("{timeline}\n");
        }
    }
}

/// A broker that remembers keys, and can lose a response.
struct Broker {
    address: SocketAddr,
    books: Arc<Mutex<Books>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Books {
    keys: HashSet<String>,
    messages: Vec<String>,
    loses: bool,
}

impl Broker {
    async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let books = Arc::new(Mutex::default());
        let shared = Arc::clone(&books);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // This small broker serves one connection after another.
                let _ = serve(stream, &shared).await;
            }
        });
        Ok(Self {
            address,
            books,
            task,
        })
    }

    fn lose_an_answer(&self) {
        open(&self.books, |books| books.loses = true);
    }

    fn count(&self, message: &str) -> usize {
        let is = |other: &&String| *other == message;
        open(&self.books, |books| {
            books.messages.iter().filter(is).count()
        })
    }

    /// Closes the port.
    async fn stop(self) -> SocketAddr {
        self.task.abort();
        let _ = self.task.await;
        self.address
    }
}

fn open<T>(books: &Mutex<Books>, with: impl FnOnce(&mut Books) -> T) -> T {
    with(&mut books.lock().unwrap_or_else(PoisonError::into_inner))
}

async fn serve(stream: TcpStream, books: &Mutex<Books>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let (key, message) = line.trim_end().split_once(' ').unwrap_or_default();
    let is_lost = open(books, |books| {
        if key == "-" || books.keys.insert(key.to_owned()) {
            books.messages.push(message.to_owned());
        }
        std::mem::take(&mut books.loses)
    });
    if !is_lost {
        stream.write_all(b"taken\n").await?;
    }
    Ok(())
}
