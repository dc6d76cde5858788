//! The shop in New York, seen from Seattle, and the link between them.

use std::convert::Infallible;
use std::future::pending;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tokio::time::sleep;
use tower::util::BoxCloneService;
use tower::{ServiceExt, service_fn};

/// The two pages of the shop, and whether the link carries packets.
#[derive(Clone, Debug)]
pub(crate) struct World(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    wishes: Vec<&'static str>,
    cents: u64,
    is_linked: bool,
}

pub(crate) type Link = BoxCloneService<Request<Full<Bytes>>, Response<Full<Bytes>>, Infallible>;

impl World {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            wishes: vec!["a bicycle"],
            cents: 10_000,
            is_linked: true,
        })))
    }

    /// Sets whether the link carries packets. A partition drops them silently.
    pub(crate) fn link(&self, is_linked: bool) {
        self.change(|state| state.is_linked = is_linked);
    }

    /// A customer in New York adds a wish, and pays for something.
    pub(crate) fn shop_in_new_york(&self, wish: &'static str, cents: u64) {
        self.change(|state| {
            state.wishes.push(wish);
            state.cents -= cents;
        });
    }

    /// Returns a page as New York shows it now.
    pub(crate) fn page(&self, path: &str) -> String {
        self.change(|state| match path {
            "/wishes" => state.wishes.join(", "),
            _ => format!("{}.{:02} USD", state.cents / 100, state.cents % 100),
        })
    }

    /// Returns the shop as a service, over the link.
    pub(crate) fn over_the_link(&self) -> Link {
        let world = self.clone();
        let service = service_fn(move |request: Request<Full<Bytes>>| {
            let world = world.clone();
            async move {
                if !world.change(|state| state.is_linked) {
                    pending::<()>().await;
                }
                sleep(ROUND_TRIP).await;
                let page = world.page(request.uri().path());
                Ok(Response::new(Full::from(page)))
            }
        });
        service.boxed_clone()
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The round trip from coast to coast.
const ROUND_TRIP: Duration = Duration::from_millis(70);
