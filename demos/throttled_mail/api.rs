//! The mail API: `POST /v1/mails` sends a mail, `GET /v1/mails/{reference}` says whether it went out.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::bucket::BURST;
use crate::fate::{Fate, Spoken};
use crate::ledger::{Ledger, Word};

/// A mail.
#[derive(Deserialize, Serialize)]
pub(crate) struct Mail {
    pub(crate) reference: u32,
    pub(crate) to: String,
}

/// The API. It listens until it is dropped.
pub(crate) struct Api {
    address: SocketAddr,
    ledger: Arc<Ledger>,
    listening: JoinHandle<()>,
}

impl Api {
    pub(crate) async fn start(seed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let ledger = Arc::new(Ledger::new(seed));
        let listening = tokio::spawn(listen(listener, Arc::clone(&ledger)));
        Ok(Self {
            address,
            ledger,
            listening,
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1/mails", self.address)
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(listener: TcpListener, ledger: Arc<Ledger>) {
    while let Ok((stream, _)) = listener.accept().await {
        let ledger = Arc::clone(&ledger);
        let service = service_fn(move |request| attend(Arc::clone(&ledger), request));
        let connection = hyper::server::conn::http1::Builder::new();
        tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
    }
}

type Answered = Result<Response<Full<Bytes>>, Gone>;

async fn attend(ledger: Arc<Ledger>, request: Request<Incoming>) -> Answered {
    if request.method() == Method::GET {
        let reference = request.uri().path().rsplit('/').next();
        let reference = reference.and_then(|reference| reference.parse().ok());
        return match reference.is_some_and(|mail| ledger.sent(mail) > 0) {
            true => status(StatusCode::OK),
            false => status(StatusCode::NOT_FOUND),
        };
    }
    let keyed = request.headers().contains_key("idempotency-key");
    // A client that leaves before its whole request is here has asked for nothing.
    let body = request.into_body().collect().await.map_err(|_| Gone)?;
    match serde_json::from_slice::<Mail>(&body.to_bytes()) {
        Ok(mail) => answer(mail.reference, ledger.arrive(mail.reference, keyed)),
        Err(_) => status(StatusCode::BAD_REQUEST),
    }
}

fn answer(reference: u32, word: Word) -> Answered {
    match word {
        Word::Throttled(secs, date, spoken) => {
            let throttled = head(StatusCode::TOO_MANY_REQUESTS, 0, secs);
            let throttled = match (spoken, date) {
                (Spoken::Quota, _) => throttled,
                (_, Some(date)) => throttled.header(RETRY_AFTER, httpdate::fmt_http_date(date)),
                (_, None) => throttled.header(RETRY_AFTER, secs),
            };
            throttled.body(Full::default()).map_err(|_| Gone)
        }
        Word::Rejected => status(StatusCode::UNPROCESSABLE_ENTITY),
        Word::Admitted(Fate::Dropped | Fate::Lost, _) => Err(Gone),
        Word::Admitted(Fate::GaveUp, _) => status(StatusCode::GATEWAY_TIMEOUT),
        Word::Admitted(Fate::Answer, left) => {
            let id = Bytes::from(format!(r#"{{"id":"mail_{reference}"}}"#));
            let sent = head(StatusCode::ACCEPTED, left, 1).body(id.into());
            sent.map_err(|_| Gone)
        }
    }
}

/// With the rest of the quota, as drafted by the IETF.
fn head(status: StatusCode, left: u32, secs: u64) -> http::response::Builder {
    Response::builder()
        .status(status)
        .header("ratelimit-policy", format!(r#""mails";q={BURST};w=1"#))
        .header("ratelimit", format!(r#""mails";r={left};t={secs}"#))
}

fn status(status: StatusCode) -> Answered {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    Ok(response)
}

/// No response: the connection is closed.
#[derive(Debug)]
struct Gone;

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("closed without a response")
    }
}

impl std::error::Error for Gone {}
