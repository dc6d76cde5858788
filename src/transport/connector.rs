//! The ear around reqwest's connector: connect begins, TLS begins, the connection stands. It keeps
//! the limits of both, also for a set-up that hyper finishes in the background.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper_util::client::legacy::connect::{Connection, HttpInfo};
use pin_project_lite::pin_project;
use rustls::pki_types::ServerName;
use tokio::task::futures::TaskLocalFuture;
use tokio::time::{Instant, Sleep, sleep_until};
use tower_layer::Layer;
use tower_service::Service;

use super::connections::Connections;
use crate::clock;
use crate::error::BoxError;
use crate::hop::LimitExpired;
use crate::hop::tracker::{self, Tracker};
use crate::limit::{Limits, Waited};
use crate::telemetry::Link;

tokio::task_local! {
    static SETUP: Arc<Setup>;
}

/// A handshake begins, on the connection that is being made right here.
pub(super) fn handshake_begins(name: &ServerName<'_>) {
    let _ = SETUP.try_with(|setup| setup.handshake_begins(name));
}

/// The handshake on the connection that is being made right here was one of TLS 1.3.
pub(super) fn handshake_was_1_3(name: &ServerName<'_>) {
    let _ = SETUP.try_with(|setup| setup.handshake_was_1_3(name));
}

/// Listens to the connections that are made to one address of one host.
#[derive(Clone, Debug)]
pub(super) struct EarLayer {
    pub(super) address: SocketAddr,
    /// The host whose handshake counts: a proxy's own is part of the connect.
    pub(super) host: Arc<str>,
    /// For a connection that no attempt of ours asked for.
    pub(super) limits: Limits,
    /// Where those that stand are written down.
    pub(super) connections: Connections,
}

impl<S> Layer<S> for EarLayer {
    type Service = Ear<S>;

    fn layer(&self, inner: S) -> Ear<S> {
        Ear {
            inner,
            layer: self.clone(),
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Ear<S> {
    inner: S,
    layer: EarLayer,
}

impl<S, T> Service<T> for Ear<S>
where
    S: Service<T, Response: Connection, Error = BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Connecting<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, target: T) -> Self::Future {
        let tracker = tracker::current();
        let dial = tracker.as_ref().map(|t| t.connecting(self.layer.address));
        let limits = tracker.as_ref().map_or(&self.layer.limits, |t| t.limits());
        let connect = tracker
            .as_ref()
            .map_or_else(|| limits.connect().get(), |tracker| tracker.dial_limit());
        let setup = Arc::new(Setup {
            host: Arc::clone(&self.layer.host),
            connections: self.layer.connections.clone(),
            link: tracker.as_ref().and_then(|t| t.spans().set_up()),
            tls: limits.tls().get(),
            tls_1_3: AtomicBool::new(false),
            dial: dial.unwrap_or_default(),
            watched: Mutex::new(Watched {
                due: clock::after(clock::now(), connect),
                which: Waited::Connect,
                tracker,
            }),
        });
        Connecting {
            inner: SETUP.scope(Arc::clone(&setup), self.inner.call(target)),
            alarm: None,
            setup,
        }
    }
}

pin_project! {
    /// A connection being made.
    pub(super) struct Connecting<F> {
        #[pin]
        inner: TaskLocalFuture<Arc<Setup>, F>,
        #[pin]
        alarm: Option<Sleep>,
        setup: Arc<Setup>,
    }
}

/// What the hooks of one set-up share.
struct Setup {
    host: Arc<str>,
    connections: Connections,
    /// What ties later attempts to this set-up.
    link: Option<Link>,
    tls: Duration,
    tls_1_3: AtomicBool,
    /// Which of its attempt's dials this is.
    dial: u32,
    watched: Mutex<Watched>,
}

struct Watched {
    due: Instant,
    which: Waited,
    /// None once the set-up is nobody's: its request went out on another connection.
    tracker: Option<Arc<Tracker>>,
}

impl<F, T> Future for Connecting<F>
where
    F: Future<Output = Result<T, BoxError>>,
    T: Connection,
{
    type Output = Result<T, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        this.setup.detach_unless_watched();
        if let Poll::Ready(made) = this.inner.poll(cx) {
            if let Ok(connection) = &made {
                this.setup.made(connection);
            }
            if let (Ok(_), Some(tracker)) = (&made, this.setup.tracker()) {
                let tls = this.setup.tls_version();
                tracker.facts(|facts| facts.tls = tls);
                if let Some(version) = tls {
                    tracker.spans().secured(version);
                }
                tracker.connected();
            }
            return Poll::Ready(made);
        }
        loop {
            let (due, which) = this.setup.due();
            if due <= clock::now() {
                return Poll::Ready(Err(Box::new(LimitExpired(which))));
            }
            match this.alarm.as_mut().as_pin_mut() {
                Some(alarm) if alarm.deadline() == due => {}
                Some(alarm) => alarm.reset(due),
                None => this.alarm.set(Some(sleep_until(due))),
            }
            if let Some(alarm) = this.alarm.as_mut().as_pin_mut() {
                ready!(alarm.poll(cx));
            }
        }
    }
}

impl Setup {
    /// hyper spawns a set-up whose request found another connection. Then it is polled outside of
    /// its attempt, and what it reports is no longer that attempt's.
    fn detach_unless_watched(&self) {
        let lost = {
            let mut watched = self.watched();
            let lost = |tracker: &mut Arc<Tracker>| !tracker::is_current(tracker);
            watched.tracker.take_if(lost)
        };
        if let Some(tracker) = lost {
            tracker.detached(self.dial);
        }
    }

    /// Whoever comes to use it finds it written down.
    fn made(&self, connection: &impl Connection) {
        let mut extras = http::Extensions::new();
        connection.connected().get_extras(&mut extras);
        if let Some(info) = extras.get::<HttpInfo>() {
            let ends = (info.local_addr(), info.remote_addr());
            self.connections
                .made(ends, self.tls_version(), self.link.clone());
        }
    }

    fn handshake_begins(&self, name: &ServerName<'_>) {
        if !name.to_str().eq_ignore_ascii_case(&self.host) {
            return;
        }
        let tracker = {
            let mut watched = self.watched();
            watched.due = clock::after(clock::now(), self.tls);
            watched.which = Waited::Tls;
            watched.tracker.clone()
        };
        if let Some(tracker) = tracker {
            tracker.handshaking();
        }
    }

    fn handshake_was_1_3(&self, name: &ServerName<'_>) {
        if name.to_str().eq_ignore_ascii_case(&self.host) {
            self.tls_1_3.store(true, Ordering::Release);
        }
    }

    /// Of a connection that stands. rustls speaks two versions, and tells of the newer one.
    fn tls_version(&self) -> Option<&'static str> {
        match (self.watched().which, self.tls_1_3.load(Ordering::Acquire)) {
            (Waited::Tls, true) => Some("1.3"),
            (Waited::Tls, false) => Some("1.2"),
            _ => None,
        }
    }

    fn tracker(&self) -> Option<Arc<Tracker>> {
        self.watched().tracker.clone()
    }

    fn due(&self) -> (Instant, Waited) {
        let watched = self.watched();
        (watched.due, watched.which)
    }

    fn watched(&self) -> std::sync::MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};

    use super::*;
    use crate::hop::{Kind, Stage};
    use crate::limit::Limits;
    use crate::telemetry::AttemptSpans;

    #[tokio::test(start_paused = true)]
    async fn set_up_that_is_polled_by_somebody_else_is_left_behind() {
        let tracker = tracker();
        let mut left = Box::pin(dial(&tracker).await);
        assert_eq!(tracker.open(), Some(Stage::Connect));

        // hyper spawned it, because another connection was freed; that one has no room yet.
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(left.as_mut().poll(&mut context).is_pending());
        assert_eq!(tracker.open(), Some(Stage::Send));
    }

    #[tokio::test(start_paused = true)]
    async fn set_up_that_is_left_behind_does_not_close_a_later_one() {
        let tracker = tracker();
        let mut left = Box::pin(dial(&tracker).await);
        // The connection that was freed had died, and handed the request back.
        let later = dial(&tracker).await;
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(left.as_mut().poll(&mut context).is_pending());
        assert_eq!(tracker.open(), Some(Stage::Connect));
        drop(later);
    }

    #[tokio::test(start_paused = true)]
    async fn set_up_that_is_left_behind_queues_for_nothing_once_a_later_one_has_failed() {
        let tracker = tracker();
        let mut left = Box::pin(dial(&tracker).await);
        drop(dial(&tracker).await);
        tracker.overcome(Kind::Refused);

        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(left.as_mut().poll(&mut context).is_pending());
        assert_eq!(tracker.open(), None);
    }

    /// A connection that never stands, begun by the attempt.
    async fn dial(tracker: &Arc<Tracker>) -> Connecting<impl Future<Output = Made> + use<>> {
        let ear = EarLayer {
            address: ([127, 0, 0, 1], 9).into(),
            host: "api.test".into(),
            limits: *tracker.limits(),
            connections: Connections::default(),
        };
        let mut connector = ear.layer(tower::service_fn(|(): ()| pending::<Made>()));
        let connecting = poll_fn(|_| Poll::Ready(connector.call(())));
        tracker::scope(Arc::clone(tracker), connecting).await
    }

    fn tracker() -> Arc<Tracker> {
        let limits = Limits::new(Duration::from_secs(10)).unwrap();
        let spans = AttemptSpans::default();
        Arc::new(Tracker::new(limits, spans, clock::now()))
    }

    type Made = Result<Nothing, BoxError>;

    enum Nothing {}

    impl Connection for Nothing {
        fn connected(&self) -> hyper_util::client::legacy::connect::Connected {
            match *self {}
        }
    }
}
