//! The setup of a connection in a foreign client (bare, hyper): connect begins, TLS begins, the connection is
//! established. It enforces the timeouts of both, also for a setup that hyper finishes in the background.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use rustls::pki_types::ServerName;
use tokio::task::futures::TaskLocalFuture;
use tokio::time::{Instant, Sleep, sleep_until};

use super::current::Place;
use crate::box_error::BoxError;
use crate::clock;
use crate::error::{Error, ReasonText};
use crate::hop::{TimeoutElapsed, TlsSession};
use crate::record::Tickets;
use crate::record::tracker::{self, Tracker};
use crate::timeout::{TimeoutKind, Timeouts};

tokio::task_local! {
    static SETUP: Arc<Setup>;
}

/// Returns the setup that is being polled right here.
pub(super) fn setup() -> Option<Arc<Setup>> {
    SETUP.try_with(Arc::clone).ok()
}

/// Records that a handshake begins on the connection that is being made right here.
pub(super) fn handshake_begins(name: &ServerName<'_>, tickets: impl FnOnce() -> Tickets) {
    let _ = SETUP.try_with(|setup| setup.handshake_begins(name, tickets));
}

/// Records that the handshake on the connection that is being made right here is a TLS 1.3 handshake.
pub(super) fn handshake_was_1_3(name: &ServerName<'_>) {
    let _ = SETUP.try_with(|setup| setup.handshake_was_1_3(name));
}

/// Returns whether a redirect to another origin led to the connection that is being made right here.
pub(super) fn is_led_away() -> bool {
    SETUP.try_with(|setup| setup.is_led_away).unwrap_or(false)
}

/// Asks whether the client may show its certificate on the connection that is being made right here.
pub(super) fn may_show_identity() -> bool {
    SETUP
        .try_with(|setup| setup.may_show_identity())
        .unwrap_or(true)
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

impl<F: Future> Connecting<F> {
    pub(super) fn new(inner: F, setup: Setup) -> Self {
        let setup = Arc::new(setup);
        Self {
            inner: SETUP.scope(Arc::clone(&setup), inner),
            alarm: None,
            setup,
        }
    }

    pub(super) fn setup(&self) -> &Setup {
        &self.setup
    }
}

/// The state that the hooks of one setup share.
pub(super) struct Setup {
    /// The name whose handshake counts; `None` if every handshake counts.
    host: Option<Arc<str>>,
    /// The port, for spans.
    pub(super) port: Option<u16>,
    connect: Duration,
    tls: Duration,
    tls_1_3: AtomicBool,
    /// Whether a redirect to another origin led to it.
    pub(super) is_led_away: bool,
    /// Whether the handshake in progress is that of the destination, not of a proxy.
    is_at_destination: AtomicBool,
    /// Whether the destination asked for the client's certificate and did not get it.
    was_withheld: AtomicBool,
    watched: Mutex<Watched>,
}

struct Watched {
    due: Instant,
    which: TimeoutKind,
    /// `None` once the setup has no request: its request went out on another connection.
    tracker: Option<Arc<Tracker>>,
    /// Whether the tracker belongs to the setup itself: then there is no attempt that could abandon it.
    own: bool,
    asked: bool,
    /// The number of this dial in its attempt.
    dial: u32,
}

impl<F, T, E> Future for Connecting<F>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
{
    type Output = Result<T, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        this.setup.detach_unless_watched();
        let polled = this.inner.poll(cx);
        this.setup.dialling_unless_asked();
        if let Poll::Ready(made) = polled {
            if this.setup.was_withheld.load(Ordering::Acquire) {
                // In the pool, it would also serve calls of its own origin, without the certificate.
                return Poll::Ready(Err(withheld().into()));
            }
            if let (Ok(_), Some(tracker)) = (&made, this.setup.tracker()) {
                let tls = this.setup.tls_session();
                tracker.facts(|facts| facts.tls = tls);
                if let Some(session) = &tls {
                    tracker.spans().secured(session);
                }
                tracker.connected();
            }
            return Poll::Ready(made.map_err(Into::into));
        }
        loop {
            let (due, which) = this.setup.due();
            if due <= clock::now() {
                return Poll::Ready(Err(Box::new(TimeoutElapsed(which))));
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
    pub(super) fn new(host: Option<Arc<str>>, timeouts: &Timeouts) -> Self {
        Self {
            host,
            port: None,
            connect: timeouts.connect(),
            tls: timeouts.tls(),
            tls_1_3: AtomicBool::new(false),
            is_led_away: false,
            is_at_destination: AtomicBool::new(true),
            was_withheld: AtomicBool::new(false),
            watched: Mutex::new(Watched {
                due: clock::now(),
                which: TimeoutKind::Connect,
                tracker: None,
                own: false,
                asked: false,
                dial: 0,
            }),
        }
    }

    /// Records that it begins, and that the connector itself looks the name up.
    pub(super) fn watch_look_up(&self, tracker: Arc<Tracker>, own: bool) {
        let limit = tracker.timeouts().dns();
        let mut watched = self.watched();
        watched.due = clock::after(clock::now(), limit);
        watched.which = TimeoutKind::Dns;
        watched.tracker = Some(tracker);
        watched.own = own;
    }

    /// Records that this crate's resolver was called, which reports when the lookup is done.
    pub(super) fn asked(&self) {
        self.watched().asked = true;
    }

    /// Returns whether this crate's resolver was called.
    pub(super) fn was_asked(&self) -> bool {
        self.watched().asked
    }

    /// Records that the lookup is done, or that there was no name to look up.
    pub(super) fn dialling(&self, address: Option<SocketAddr>) {
        let tracker = {
            let mut watched = self.watched();
            watched.due = clock::after(clock::now(), self.connect);
            watched.which = TimeoutKind::Connect;
            watched.tracker.clone()
        };
        if let Some(tracker) = tracker {
            let dial = tracker.connecting(address);
            self.watched().dial = dial;
        }
    }

    /// Enters the connect, unless this crate's resolver was called: everything else is part of the connect.
    fn dialling_unless_asked(&self) {
        let waits = {
            let watched = self.watched();
            matches!(watched.which, TimeoutKind::Dns) && !watched.asked
        };
        if waits {
            self.dialling(None);
        }
    }

    /// Detaches a setup that is polled outside of its attempt: hyper spawns it if its request found another connection.
    /// From then on its reports are not part of that attempt.
    fn detach_unless_watched(&self) {
        let lost = {
            let mut watched = self.watched();
            let lost = |tracker: &mut Arc<Tracker>| !tracker::is_current(tracker);
            if watched.own {
                return;
            }
            let dial = watched.dial;
            watched.tracker.take_if(lost).map(|tracker| (tracker, dial))
        };
        if let Some((tracker, dial)) = lost {
            tracker.detached(dial);
        }
    }

    fn handshake_begins(&self, name: &ServerName<'_>, tickets: impl FnOnce() -> Tickets) {
        let is_to = self.is_to(&name.to_str());
        self.is_at_destination.store(is_to, Ordering::Release);
        if !is_to {
            return;
        }
        let tracker = {
            let mut watched = self.watched();
            watched.due = clock::after(clock::now(), self.tls);
            watched.which = TimeoutKind::Tls;
            watched.tracker.clone()
        };
        if let Some(tracker) = tracker {
            tracker.facts(|facts| facts.tickets = Some(tickets()));
            tracker.handshaking();
        }
    }

    fn may_show_identity(&self) -> bool {
        let is_at_destination = self.is_at_destination.load(Ordering::Acquire);
        if is_at_destination && self.is_led_away {
            self.was_withheld.store(true, Ordering::Release);
        }
        is_at_destination && !self.is_led_away
    }

    fn handshake_was_1_3(&self, name: &ServerName<'_>) {
        if self.is_to(&name.to_str()) {
            self.tls_1_3.store(true, Ordering::Release);
        }
    }

    /// Returns the session of an established connection. rustls supports two versions, and reports only the newer one.
    fn tls_session(&self) -> Option<TlsSession> {
        let is_tls = self.watched().which == TimeoutKind::Tls;
        is_tls.then(|| TlsSession {
            version: match self.tls_1_3.load(Ordering::Acquire) {
                true => "1.3",
                false => "1.2",
            },
            alpn: None,
            is_resumed: None,
        })
    }

    /// Returns whether `name` is the destination, not a proxy.
    pub(super) fn is_to(&self, name: &str) -> bool {
        let host = self.host.as_deref();
        host.is_none_or(|host| name.eq_ignore_ascii_case(host))
    }

    /// Returns the host and the port of the destination, if they are known.
    pub(super) fn place(&self) -> Option<Place> {
        self.host.clone().zip(self.port)
    }

    pub(super) fn tracker(&self) -> Option<Arc<Tracker>> {
        self.watched().tracker.clone()
    }

    fn due(&self) -> (Instant, TimeoutKind) {
        let watched = self.watched();
        (watched.due, watched.which)
    }

    fn watched(&self) -> std::sync::MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the error of a request that a redirect led to a server with client certificates.
pub(super) fn withheld() -> Error {
    Error::invalid().because(ReasonText::new(WITHHELD))
}

const WITHHELD: &str = "a redirect led to another origin that asks for the client's certificate, which is not shown \
                        there: call that origin directly, or use Transport";

#[cfg(test)]
#[path = "connector_tests.rs"]
pub(super) mod tests;
