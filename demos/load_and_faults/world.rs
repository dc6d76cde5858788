//! The service in trouble, in memory.

use std::convert::Infallible;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use http::{Request, Response, StatusCode};
use http_body_util::{Empty, Full};
use tokio::time::{Instant, sleep, sleep_until};

pub(crate) type Ask = Request<Empty<Bytes>>;
pub(crate) type Answer = Response<Full<Bytes>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    SlowNode,
    Burst503,
    BlackHole,
    All500,
    BigSpike,
    RateLimit,
    Overload,
}

/// The service. It counts its requests.
pub(crate) struct World {
    trouble: Trouble,
    begun: Instant,
    state: Mutex<State>,
}

struct State {
    requests: u32,
    luck: Rng,
    /// When the service has worked through its queue.
    idle_at: Instant,
    /// When the next request is within the rate.
    free_at: Instant,
}

/// The fate of a request.
enum Fate {
    Status(u16, Duration),
    /// The response comes when the service has worked through its queue.
    Queued(Instant),
    Swallowed,
}

impl Trouble {
    pub(crate) const ALL: [Self; 7] = [
        Self::SlowNode,
        Self::Burst503,
        Self::BlackHole,
        Self::All500,
        Self::BigSpike,
        Self::RateLimit,
        Self::Overload,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::SlowNode => "slow node",
            Self::Burst503 => "503 burst",
            Self::BlackHole => "black hole",
            Self::All500 => "all 500",
            Self::BigSpike => "big spike",
            Self::RateLimit => "rate limit",
            Self::Overload => "overload",
        }
    }

    /// Returns how many calls are made at once, this long after the start.
    pub(crate) fn calls(self, since: Duration) -> u32 {
        match self == Self::BigSpike && is_in_trouble(since) {
            true => SPIKE,
            false => 1,
        }
    }
}

impl World {
    pub(crate) fn new(trouble: Trouble) -> Arc<Self> {
        let begun = Instant::now();
        Arc::new(Self {
            trouble,
            begun,
            state: Mutex::new(State {
                requests: 0,
                luck: Rng::with_seed(SEED),
                idle_at: begun,
                free_at: begun,
            }),
        })
    }

    pub(crate) fn requests(&self) -> u32 {
        self.state().requests
    }

    pub(crate) async fn answer(self: Arc<Self>, _request: Ask) -> Result<Answer, Infallible> {
        let status = match self.fate() {
            Fate::Status(status, takes) => {
                sleep(takes).await;
                status
            }
            Fate::Queued(until) => {
                sleep_until(until).await;
                200
            }
            Fate::Swallowed => pending().await,
        };
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
        Ok(response)
    }

    fn fate(&self) -> Fate {
        let now = Instant::now();
        let mut state = self.state();
        state.requests += 1;
        // From 15 to 25 ms.
        let takes = USUAL.mul_f64(0.75 + state.luck.f64() / 2.0);
        let at_node = |nodes: u32, state: &mut State| state.luck.u32(0..nodes) == 0;
        match self.trouble {
            Trouble::SlowNode if at_node(50, &mut state) => Fate::Status(200, SLOW),
            Trouble::BlackHole if at_node(10, &mut state) => Fate::Swallowed,
            Trouble::Burst503 if is_in_trouble(now - self.begun) => Fate::Status(503, FAST),
            Trouble::All500 => Fate::Status(500, FAST),
            Trouble::BigSpike => {
                state.idle_at = state.idle_at.max(now) + WORK;
                Fate::Queued(state.idle_at + takes)
            }
            Trouble::RateLimit => {
                if state.free_at > now + BURST {
                    return Fate::Status(429, FAST);
                }
                state.free_at = state.free_at.max(now) + ACCEPTED_EVERY;
                Fate::Status(200, takes)
            }
            Trouble::Overload => {
                let is_full = state.idle_at > now + ROOM;
                let (status, work) = match is_full {
                    true => (503, REJECTION),
                    false => (200, RESPONSE),
                };
                state.idle_at = state.idle_at.max(now) + work;
                Fate::Status(status, takes + (state.idle_at - now))
            }
            Trouble::SlowNode | Trouble::Burst503 | Trouble::BlackHole => Fate::Status(200, takes),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns whether it is the time of a burst or a spike.
fn is_in_trouble(since: Duration) -> bool {
    (TROUBLE_FROM..TROUBLE_TO).contains(&since)
}

pub(crate) const SEED: u64 = 7;
const TROUBLE_FROM: Duration = Duration::from_secs(20);
const TROUBLE_TO: Duration = Duration::from_secs(22);
/// Calls in the place of one, in a spike.
const SPIKE: u32 = 10;
const USUAL: Duration = Duration::from_millis(20);
const SLOW: Duration = Duration::from_millis(900);
const FAST: Duration = Duration::from_millis(2);
/// The service can work on five hundred requests a second.
const WORK: Duration = Duration::from_millis(2);
/// It accepts a request each 30 ms, and a burst of ten.
const ACCEPTED_EVERY: Duration = Duration::from_millis(30);
const BURST: Duration = Duration::from_millis(300);
/// A service that has the capacity for a response each 30 ms rejects requests that would wait for longer than this.
const ROOM: Duration = Duration::from_millis(100);
const RESPONSE: Duration = Duration::from_millis(30);
const REJECTION: Duration = Duration::from_millis(15);
