use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderMap, HeaderName, Request, Response, Uri};
use tower_layer::Layer;
use tower_service::Service;

use super::key::{fresh, header};
use super::wanted::{Asked, Wanted, kept, vouched, wanted};
use super::{ResponseFuture, Settings};
use crate::call::{Call, KeyMark};
use crate::clock;
use crate::destination::Destination;
use crate::error::{BoxError, Error, Guard, SettingError};
use crate::guard::attempt::foreign;
use crate::hop::{Diagnosis, Effect, Kind};
use crate::limit::Limit;
use crate::options::Unmet;

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

impl<S> Layer<S> for IdempotencyLayer {
    type Service = IdempotencyService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        IdempotencyService {
            inner,
            settings: Arc::clone(&self.settings),
        }
    }
}

/// The service of [`IdempotencyLayer`].
#[derive(Clone, Debug)]
pub struct IdempotencyService<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S, B, R> Service<Request<B>> for IdempotencyService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<BoxError>,
{
    type Response = Response<R>;
    type Error = Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let ready = self.inner.poll_ready(cx);
        ready.map_err(|error| foreign(error.into()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let call =
            Call::of(request.extensions()).unwrap_or_else(|| Call::begin(&mut request, Limit::MAX));
        if let Some(refused) = self.settings.apply(&mut request, &call) {
            return ResponseFuture::refused(refused);
        }
        ResponseFuture::new(self.inner.call(request), call)
    }
}

impl Settings {
    /// Puts the key into the request and marks it in the call; or says why the request must not go.
    fn apply<B>(&self, request: &mut Request<B>, call: &Call) -> Option<Error> {
        let options = call.options();
        if options.inherited.keys_differ {
            return Some(Unmet::OtherKey.refuse().of(call));
        }
        // The caller's own key goes before one that a stack around made up.
        let earlier = call.key();
        let earlier = earlier.filter(|mark| mark.given || options.key.is_none());
        let name = earlier.map_or(&self.header, |mark| &mark.name).clone();
        let method = request.method().clone();
        let (brought, sound) = brought(request.headers(), &name);
        let asked = Asked {
            method: &method,
            brought,
            sound,
            key: options.key.as_ref(),
            make: self.make_keys && !options.no_key,
            honours: options.honours_keys.or_else(|| self.honours(request.uri())),
        };
        match earlier {
            Some(mark) => self.keep(request, call, (mark, &asked)),
            None => self.begin(request, call, &asked),
        }
        let key = call.own_key()?;
        let expired = key.expires_at.is_some_and(|at| at <= clock::wall());
        expired.then(|| {
            // Whether an earlier call with it came through, nobody can tell any more.
            let mut diagnosis = Diagnosis::refusal(Kind::KeyExpired);
            diagnosis.effect = Effect::Possible;
            Error::refused(Guard::Idempotency, diagnosis).of(call)
        })
    }

    /// Gives the call its key.
    fn begin<B>(&self, request: &mut Request<B>, call: &Call, asked: &Asked<'_>) {
        let wanted = wanted(asked);
        let headers = request.headers_mut();
        let made = match wanted {
            Wanted::None => return,
            Wanted::Brought => {
                hide(headers, &self.header);
                None
            }
            Wanted::Given(key) => header(key.as_str(), self.quoted),
            Wanted::Made => fresh(self.quoted),
        };
        if let Some(value) = &made {
            headers.insert(self.header.clone(), value.clone());
        }
        let brought = || headers.get(&self.header).filter(|_| asked.sound).cloned();
        call.mark_key(KeyMark {
            name: self.header.clone(),
            value: made.or_else(brought),
            given: matches!(wanted, Wanted::Given(_)),
            is_license: vouched(
                &Asked {
                    honours: None,
                    ..*asked
                },
                wanted,
            ),
            vouched: vouched(asked, wanted),
            made: wanted == Wanted::Made,
            expires_at: match wanted {
                Wanted::Given(key) => key.expires_at(),
                Wanted::None | Wanted::Brought | Wanted::Made => None,
            },
        });
    }

    /// Sees to it that a request carries the key that its call has: another layer may have looked at
    /// another copy of the request.
    fn keep<B>(
        &self,
        request: &mut Request<B>,
        call: &Call,
        (mark, asked): (&KeyMark, &Asked<'_>),
    ) {
        let is_own = call.own_key().is_some();
        let replaces = is_own && mark.given;
        let kept = kept(asked, replaces, mark.vouched);
        if let Some(value) = mark
            .value
            .as_ref()
            .filter(|_| kept.is_put && !call.is_led_away())
        {
            request
                .headers_mut()
                .insert(mark.name.clone(), value.clone());
        }
        if !is_own {
            call.mark_key(KeyMark {
                vouched: kept.is_vouched,
                ..mark.clone()
            });
        }
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

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn key_that_expired_since_the_first_attempt_is_not_sent_again() {
        let mut request = Request::post("https://api.test/").body(()).unwrap();
        let call = Call::begin(&mut request, Limit::MAX);
        call.mark_key(KeyMark {
            name: HeaderName::from_static("idempotency-key"),
            value: header("k-1", false),
            given: true,
            is_license: true,
            vouched: true,
            made: false,
            expires_at: Some(SystemTime::UNIX_EPOCH),
        });
        let refused = Settings::new().apply(&mut request, &call).unwrap();
        assert_eq!(refused.kind(), Kind::KeyExpired);
    }
}
