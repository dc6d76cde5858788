use std::sync::Arc;

use http::{HeaderMap, HeaderName, Request, Uri};
use tower_layer::Layer;
use uuid::Uuid;

use super::Settings;
use super::wanted::{Asked, Wanted, vouched, wanted};
use crate::call::{Call, KeyMark};
use crate::clock;
use crate::config_error::SettingError;
use crate::destination::Destination;
use crate::driver::{Driver, Now, Policies};
use crate::error::Error;
use crate::hop::Guard;
use crate::hop::{Diagnosis, Effect, Kind};
use crate::idempotency_key::{header, random, written};

/// Gives every call that needs one an idempotency key: one key a call, the same in every attempt.
///
/// # Example
///
/// ```
/// use sevenhops::IdempotencyLayer;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let service = ServiceBuilder::new()
///     .layer(IdempotencyLayer::default())
///     .service(service_fn(async |request: http::Request<String>| {
///         assert!(request.headers().contains_key("idempotency-key"));
///         Ok::<_, std::io::Error>(http::Response::new(String::new()))
///     }));
/// service.oneshot(http::Request::post("https://api.test/").body(String::new())?).await?;
/// # Ok(()) }
/// ```
///
/// # What it protects from
///
/// A charge that is made twice because its answer was lost and it was sent again.
///
/// # A key is not a licence
///
/// A service that does not know the header ignores it, and a repeat is a second charge. So a key
/// permits to repeat what may have happened only if the caller brought or derived it, or said that
/// the far side honours keys: for the client or the destination in [`Settings`], for one request by
/// [`Options::honours_keys`](crate::Options::honours_keys).
///
/// # What it reports
///
/// A note in the timeline where the far side says that its answer is a replay; a refusal by
/// [`Guard::Idempotency`] for a derived key that the far side does not remember any more.
///
/// # How people get it wrong
///
/// A fresh key for each attempt, or a key of the customer instead of the order: the first charges
/// twice, the second not at all.
///
/// A retry above the layer (`tower::retry`, a loop around the client) makes a call of each try, and each call gets a
/// new key: the layer finds nothing that the tries share, because the retry clones the request before the layer sees
/// it. Give such a request its key: [`Options::idempotency_key`](crate::Options::idempotency_key). A retry that is a
/// reqwest-middleware shares its extensions: there, the tries get the same key.
///
/// # Cancel safety
///
/// Nothing is held: a dropped future leaves nothing behind.
#[derive(Clone, Debug, Default)]
pub struct IdempotencyLayer {
    settings: Arc<Settings>,
}

impl IdempotencyLayer {
    /// Makes keys as these settings say.
    ///
    /// # Errors
    ///
    /// Fails if the header for the key is one that HTTP has another use for.
    pub fn new(settings: Settings) -> Result<Self, SettingError> {
        settings.check()?;
        Ok(Self {
            settings: Arc::new(settings),
        })
    }
}

impl IdempotencyLayer {
    pub(crate) fn policy(&self) -> Arc<Settings> {
        Arc::clone(&self.settings)
    }
}

impl<S> Layer<S> for IdempotencyLayer {
    type Service = IdempotencyService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let policies = Policies {
            idempotency: Some(self.policy()),
            ..Policies::default()
        };
        Driver::new(inner, Now, Arc::new(policies))
    }
}

/// The service of [`IdempotencyLayer`].
pub type IdempotencyService<S> = Driver<S, Now>;

impl Settings {
    /// Puts the key into the request and marks it in the call; or says why the request must not go.
    pub(crate) fn apply<B>(&self, request: &mut Request<B>, call: &Call) -> Option<Error> {
        // A stack around this one has seen to it: one key a call, and one word on it.
        if call.key().is_some() {
            return None;
        }
        let options = call.options();
        let method = request.method().clone();
        let (brought, sound) = brought(request.headers(), &self.header);
        let asked = Asked {
            method: &method,
            brought,
            sound,
            key: options.key.as_ref(),
            make: self.make_keys && !options.no_key,
            honours: options.honours_keys.or_else(|| self.honours(request.uri())),
        };
        let wanted = wanted(&asked);
        let value = match wanted {
            Wanted::None => return None,
            Wanted::Brought => {
                hide(request.headers_mut(), &self.header);
                None
            }
            Wanted::Given(key) => header(key.as_str(), self.quoted),
            Wanted::Made => written(made(call), self.quoted),
        };
        if let Some(value) = value {
            request.headers_mut().insert(self.header.clone(), value);
        }
        let expires_at = match wanted {
            Wanted::Given(key) => key.expires_at(),
            Wanted::None | Wanted::Brought | Wanted::Made => None,
        };
        call.mark_key(KeyMark {
            name: self.header.clone(),
            vouched: vouched(&asked, wanted),
            made: wanted == Wanted::Made,
            expires_at,
        });
        let expired = expires_at.is_some_and(|at| at <= clock::wall());
        expired.then(|| {
            // Whether an earlier call with it came through, nobody can tell any more.
            let mut diagnosis = Diagnosis::refusal(Kind::KeyExpired);
            diagnosis.effect = Effect::Possible;
            Error::refused(Guard::Idempotency, diagnosis).of(call)
        })
    }

    /// What was said of a destination, if anything.
    fn honours(&self, uri: &Uri) -> Option<bool> {
        if self.honoured_by_all {
            return Some(true);
        }
        if self.honoured_by.is_empty() {
            return None;
        }
        let destination = Destination::of(uri)?;
        self.honoured_by.contains(&destination).then_some(true)
    }
}

/// A key for a call: a fresh one, or that of the caller's earlier tries.
fn made(call: &Call) -> Uuid {
    #[cfg(feature = "middleware")]
    if let Some(caller) = call.callers_try() {
        return caller.key(random);
    }
    #[cfg(not(feature = "middleware"))]
    let _ = call;
    random()
}

/// Whether the header is there, and whether it can be one key.
fn brought(headers: &HeaderMap, name: &HeaderName) -> (bool, bool) {
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else {
        return (false, false);
    };
    let sound = !first.as_bytes().trim_ascii().is_empty() && values.next().is_none();
    (true, sound)
}

/// Whoever knows a key can have its answer replayed: it is kept out of debug output.
fn hide(headers: &mut HeaderMap, name: &HeaderName) {
    if let Some(key) = headers.get_mut(name) {
        key.set_sensitive(true);
    }
}
