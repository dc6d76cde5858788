//! The responses, by name and path.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::body::{End, Parts};
use super::{FAULTY, FLAPPING};

/// The state of the servers.
pub(crate) struct Desk {
    began: Instant,
    /// How many requests of each round are held.
    holds: Mutex<HashMap<String, watch::Sender<usize>>>,
}

impl Default for Desk {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            holds: Mutex::default(),
        }
    }
}

type Answer = io::Result<Response<Parts>>;

impl Desk {
    /// Responds to a request. An error closes the connection, or resets the stream.
    pub(crate) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        let uri = request.uri();
        let host = request.headers().get(http::header::HOST);
        let host = host
            .and_then(|host| host.to_str().ok())
            .or_else(|| uri.host());
        let host = host.unwrap_or_default();
        let (is_faulty, is_flapping) = (host.starts_with(FAULTY), host.starts_with(FLAPPING));
        let path = uri.path().to_owned();
        if let Some(round) = path.strip_prefix("/hold/") {
            self.hold(round).await;
            return Ok(Response::new(Parts::small()));
        }
        if is_faulty && fastrand::u8(..4) == 0 {
            return fault(request).await;
        }
        if is_flapping && self.is_down() {
            return status(StatusCode::INTERNAL_SERVER_ERROR);
        }
        request
            .into_body()
            .collect()
            .await
            .map_err(io::Error::other)?;
        sleep(TAKES).await;
        Ok(Response::new(match path.as_str() {
            "/large" => Parts::new(64, Duration::ZERO, End::Well),
            "/drip" => Parts::new(16, DRIP, End::Well),
            _ => Parts::small(),
        }))
    }

    /// Waits until all requests of a round are here. Its name ends with their number.
    async fn hold(&self, round: &str) {
        let all = round.rsplit('/').next().and_then(|all| all.parse().ok());
        let mut here = {
            let mut holds = self.holds.lock().unwrap_or_else(PoisonError::into_inner);
            let round = holds.entry(round.to_owned()).or_default();
            round.send_modify(|here| *here += 1);
            round.subscribe()
        };
        let _ = here.wait_for(|here| *here >= all.unwrap_or(1)).await;
    }

    fn is_down(&self) -> bool {
        self.began.elapsed().as_secs() % 20 < 3
    }
}

/// Fails in one of ten ways.
async fn fault(request: Request<Incoming>) -> Answer {
    match fastrand::u8(..10) {
        // Before the body is read, and after it.
        0 => return Err(io::ErrorKind::ConnectionReset.into()),
        1 => {
            let _ = request.into_body().collect().await;
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        2 => return std::future::pending().await,
        3 => return Ok(Response::new(Parts::new(2, DRIP, End::Breaks))),
        4 => return Ok(Response::new(Parts::new(2, DRIP, End::Stalls))),
        5 => sleep(TAKES * 20).await,
        6 => return status(StatusCode::SERVICE_UNAVAILABLE),
        7 => {
            let mut response = status(StatusCode::TOO_MANY_REQUESTS)?;
            response.headers_mut().insert(RETRY_AFTER, 1.into());
            return Ok(response);
        }
        8 => return status(StatusCode::BAD_GATEWAY),
        _ => return status(StatusCode::CONFLICT),
    }
    Ok(Response::new(Parts::small()))
}

fn status(status: StatusCode) -> Answer {
    let mut response = Response::new(Parts::from(Bytes::from_static(b"{\"error\":true}")));
    *response.status_mut() = status;
    Ok(response)
}

/// Longer than the time that this machine adds.
const TAKES: Duration = Duration::from_millis(20);
const DRIP: Duration = Duration::from_millis(2);
