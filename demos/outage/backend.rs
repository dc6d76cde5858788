//! The service that fails, in memory.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use http::{Request, Response, StatusCode};
use http_body_util::{Empty, Full};
use tokio::time::sleep;

use crate::ledger::Ledger;

pub(crate) type Ask = Request<Empty<Bytes>>;
pub(crate) type Answer = Response<Full<Bytes>>;

/// Answers after a few milliseconds; fails a share of its requests while it is failing.
pub(crate) struct Backend {
    ledger: Arc<Ledger>,
    failing: f64,
    luck: Mutex<Rng>,
}

impl Backend {
    pub(crate) fn new(ledger: Arc<Ledger>, failing: f64) -> Arc<Self> {
        Arc::new(Self {
            ledger,
            failing,
            luck: Mutex::new(Rng::with_seed(SEED)),
        })
    }

    pub(crate) async fn answer(self: Arc<Self>, _request: Ask) -> Result<Answer, Infallible> {
        let (takes, luck) = self.draw();
        // Whether it is failing as the request comes, not as it is answered.
        let fails = self.ledger.is_failing() && luck < self.failing;
        self.ledger.arrived(fails);
        sleep(takes).await;
        let mut answer = Response::new(Full::new(Bytes::from_static(b"{}")));
        if fails {
            *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        Ok(answer)
    }

    fn draw(&self) -> (Duration, f64) {
        let mut luck = self.luck.lock().unwrap_or_else(PoisonError::into_inner);
        (Duration::from_millis(luck.u64(2..=8)), luck.f64())
    }
}

/// The same runs each time.
pub(crate) const SEED: u64 = 7;
