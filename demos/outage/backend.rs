//! The service that fails, in memory.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use http::{Request, Response, StatusCode};
use http_body_util::{Empty, Full};
use tokio::time::{Instant, sleep};

use crate::ledger::Ledger;
use crate::run::EVERY;

pub(crate) type Ask = Request<Empty<Bytes>>;
pub(crate) type Answer = Response<Full<Bytes>>;

/// The way in which the service is failing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Trouble {
    /// It fails this share of its requests.
    Fails(f64),
    /// It takes a third of the calls that are made, and responds 503 without a hint to all others.
    Throttles,
}

impl Trouble {
    pub(crate) fn name(self) -> String {
        match self {
            Self::Fails(share) => format!("{:.0} %", share * 100.0),
            Self::Throttles => String::from("throttles"),
        }
    }
}

/// Responds after a few milliseconds. Fails requests while it is failing.
pub(crate) struct Backend {
    ledger: Arc<Ledger>,
    trouble: Trouble,
    luck: Mutex<Rng>,
    /// When a service that throttles takes the next request.
    free_at: Mutex<Instant>,
}

impl Backend {
    pub(crate) fn new(ledger: Arc<Ledger>, trouble: Trouble) -> Arc<Self> {
        Arc::new(Self {
            free_at: Mutex::new(ledger.start()),
            ledger,
            trouble,
            luck: Mutex::new(Rng::with_seed(SEED)),
        })
    }

    pub(crate) async fn answer(self: Arc<Self>, _request: Ask) -> Result<Answer, Infallible> {
        let (takes, luck) = self.draw();
        // Whether it is failing when the request comes, not when the response goes out.
        let fails = self.ledger.is_failing()
            && match self.trouble {
                Trouble::Fails(share) => luck < share,
                Trouble::Throttles => !self.takes(),
            };
        self.ledger.arrived(fails);
        sleep(takes).await;
        let mut answer = Response::new(Full::new(Bytes::from_static(b"{}")));
        if fails {
            *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        Ok(answer)
    }

    /// Whether a service that throttles takes a request now.
    fn takes(&self) -> bool {
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let takes = *free_at <= now;
        if takes {
            *free_at = now + EVERY * 3;
        }
        takes
    }

    fn draw(&self) -> (Duration, f64) {
        let mut luck = self.luck.lock().unwrap_or_else(PoisonError::into_inner);
        (Duration::from_millis(luck.u64(2..=8)), luck.f64())
    }
}

/// The runs are the same each time.
pub(crate) const SEED: u64 = 7;
