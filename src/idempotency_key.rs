//! Idempotency keys.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use http::HeaderValue;
use uuid::{Builder, Uuid};

use crate::clock;

/// An idempotency key that the caller supplies or derives.
///
/// # Example
///
/// A job that is delivered twice sends the same key, in any process:
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use sevenhops::IdempotencyKey;
///
/// const DAY: Duration = Duration::from_secs(24 * 60 * 60); // as long as Stripe remembers a key
///
/// let ordered_at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
/// let key = IdempotencyKey::derive("charge", "order-4711", ordered_at, DAY)?;
/// assert_eq!(key, IdempotencyKey::derive("charge", "order-4711", ordered_at, DAY)?);
/// assert_ne!(key, IdempotencyKey::derive("charge", "order-4712", ordered_at, DAY)?);
/// # Ok::<(), sevenhops::policy::idempotency::InvalidIdempotencyKey>(())
/// ```
#[derive(Clone)]
pub struct IdempotencyKey {
    value: Box<str>,
    expires_at: Option<SystemTime>,
    /// Whether the key was generated, and the server is not known to honor keys.
    pub(crate) is_made_up: bool,
}

impl PartialEq for IdempotencyKey {
    fn eq(&self, other: &Self) -> bool {
        (&self.value, self.expires_at) == (&other.value, other.expires_at)
    }
}

impl Eq for IdempotencyKey {}

impl Hash for IdempotencyKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.value, self.expires_at).hash(state);
    }
}

impl IdempotencyKey {
    /// Creates a key from the caller's own value.
    ///
    /// # Errors
    ///
    /// Fails unless the key has 1 to 255 visible ASCII characters. A quote or a backslash is also refused, because it
    /// has no quoted form.
    pub fn new(value: impl Into<Box<str>>) -> Result<Self, InvalidIdempotencyKey> {
        let value = value.into();
        let fits = (1..=MOST_CHARACTERS).contains(&value.len());
        if !fits {
            return Err(InvalidIdempotencyKey(
                "idempotency key: expected 1 to 255 characters",
            ));
        }
        let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
        if !value.bytes().all(plain) {
            return Err(InvalidIdempotencyKey(
                "idempotency key: expected visible ASCII characters without \" and \\",
            ));
        }
        Ok(Self {
            value,
            expires_at: None,
            is_made_up: false,
        })
    }

    /// Generates a random (UUIDv4) key. Unless `is_vouched`, the key does not permit a retry, even if it is passed on
    /// to another client.
    pub(crate) fn fresh(is_vouched: bool) -> Self {
        Self {
            value: random().hyphenated().to_string().into(),
            expires_at: None,
            is_made_up: !is_vouched,
        }
    }

    /// Derives a key from an operation and its subject: UUID version 5 (RFC 9562 §5.5).
    ///
    /// The key is the same in every process and at any time. So `identity` has to name one business event: an order,
    /// not a customer. It has to be unique among all accounts of yours that share one account with the server.
    ///
    /// `made_at` is the time of the event: no request with this key was sent before. From then on the server remembers
    /// the key for `remembered_for`. After that, a call with the key is rejected, because the server can no longer
    /// recognize a second request.
    ///
    /// # Errors
    ///
    /// Fails if `operation` or `identity` is empty, if `remembered_for` is zero, or if the expiry is out of the system
    /// clock's range.
    pub fn derive(
        operation: &str,
        identity: &str,
        made_at: SystemTime,
        remembered_for: Duration,
    ) -> Result<Self, InvalidIdempotencyKey> {
        if operation.is_empty() || identity.is_empty() {
            return Err(InvalidIdempotencyKey(
                "idempotency key: operation and identity must not be empty",
            ));
        }
        if remembered_for.is_zero() {
            return Err(InvalidIdempotencyKey(
                "idempotency key: remembered_for must be more than 0s",
            ));
        }
        let Some(expires_at) = made_at.checked_add(remembered_for) else {
            return Err(InvalidIdempotencyKey(
                "idempotency key: made_at + remembered_for is out of range of the system clock",
            ));
        };
        // The length distinguishes ("ab", "c") from ("a", "bc").
        let name = format!("{}:{operation}{identity}", operation.len());
        let uuid = Uuid::new_v5(&NAMESPACE, name.as_bytes());
        Ok(Self {
            value: uuid.hyphenated().to_string().into(),
            expires_at: Some(expires_at),
            is_made_up: false,
        })
    }

    /// Returns the key itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.value
    }

    /// Returns the time until which the server remembers it; `None` for a key from the caller's own value.
    #[must_use]
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.expires_at
    }
}

/// Returns the header value of a key: bare, or as a string of a structured field (RFC 9651 §3.3.3).
pub(crate) fn header(value: &str, quoted: bool) -> Option<HeaderValue> {
    let line = if quoted {
        HeaderValue::try_from(format!("\"{value}\""))
    } else {
        HeaderValue::from_str(value)
    };
    line.ok().map(sensitive)
}

/// Returns the header value of a generated key.
pub(crate) fn written(key: Uuid, quoted: bool) -> Option<HeaderValue> {
    let mut line = [b'"'; 38];
    key.hyphenated().encode_lower(&mut line[1..37]);
    let text = if quoted { &line[..] } else { &line[1..37] };
    HeaderValue::from_bytes(text).ok().map(sensitive)
}

/// Generates a UUID version 4, always from the operating system's randomness. An in-memory generator would be faster.
/// But a fork or a snapshot of a virtual machine copies its state, and both copies would make the same keys.
/// (`Uuid::new_v4` uses such a generator if any crate in the program enables `fast-rng`.)
pub(super) fn random() -> Uuid {
    let mut bytes = [0; 16];
    match getrandom::fill(&mut bytes) {
        Ok(()) => Builder::from_random_bytes(bytes).into_uuid(),
        Err(_) => unrepeated(&MADE),
    }
}

/// Generates a key without system randomness (in a sandbox without `getrandom` and `/dev/urandom`), from the process
/// id, the time and a counter.
fn unrepeated(made: &AtomicU64) -> Uuid {
    let since = clock::wall().duration_since(SystemTime::UNIX_EPOCH);
    let nanos = since.unwrap_or_default().as_nanos();
    let made = made.fetch_add(1, Ordering::Relaxed);
    let name = format!("{}:{nanos}:{made}", std::process::id());
    Uuid::new_v5(&NAMESPACE, name.as_bytes())
}

/// Marks a key as sensitive, which keeps it out of debug output and of HTTP/2's header tables. No other call sends it.
fn sensitive(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

impl fmt::Debug for IdempotencyKey {
    /// Leaves the value out: a reader who knows a key can get its response replayed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdempotencyKey")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// A text that cannot be an idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidIdempotencyKey(&'static str);

impl fmt::Display for InvalidIdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for InvalidIdempotencyKey {}

static MADE: AtomicU64 = AtomicU64::new(0);
/// The limit that services accept (Stripe: up to 255 characters).
const MOST_CHARACTERS: usize = 255;
/// UUID version 5 of `https://docs.rs/sevenhops` in the namespace of URLs. Never change it: every derived key depends
/// on it.
const NAMESPACE: Uuid = Uuid::from_u128(0xdcc5_bfaa_7279_5af2_a922_e200_a081_3009);

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn derived(operation: &str, identity: &str) -> IdempotencyKey {
        IdempotencyKey::derive(operation, identity, SystemTime::UNIX_EPOCH, DAY).unwrap()
    }

    #[test]
    fn derived_key_is_the_same_in_another_process_on_another_day() {
        // A literal value from another process and an earlier day.
        let key = derived("charge", "order-4711");
        assert_eq!(key.as_str(), "587e7a07-9e59-5e48-894b-9bbbfa22666e");
        let later =
            IdempotencyKey::derive("charge", "order-4711", SystemTime::UNIX_EPOCH + DAY, DAY)
                .unwrap();
        assert_eq!(later.as_str(), key.as_str());
    }

    #[test]
    fn derived_key_differs_for_another_identity_or_operation() {
        let key = derived("charge", "order-4711");
        for other in [
            derived("charge", "order-4712"),
            derived("refund", "order-4711"),
            derived("charg", "eorder-4711"),
        ] {
            assert_ne!(other.as_str(), key.as_str());
        }
    }

    #[test]
    fn value_is_bare_or_a_quoted_string() {
        assert_eq!(header("k-1", false).unwrap(), "k-1");
        assert_eq!(header("k-1", true).unwrap(), "\"k-1\"");
        let fresh = |quoted| written(random(), quoted).unwrap();
        let (bare, quoted) = (fresh(false), fresh(true));
        let uuid: Uuid = bare.to_str().unwrap().parse().unwrap();
        assert_eq!(uuid.get_version_num(), 4);
        let inner = quoted.to_str().unwrap().strip_prefix('"').unwrap();
        let uuid: Uuid = inner.strip_suffix('"').unwrap().parse().unwrap();
        assert_eq!(uuid.get_version_num(), 4);
    }

    #[test]
    fn keys_differ_where_the_system_has_no_randomness() {
        let made = AtomicU64::new(0);
        assert_ne!(unrepeated(&made), unrepeated(&made));
    }

    #[test]
    fn key_is_kept_out_of_debug_output_and_of_tables() {
        let fresh = |quoted| written(random(), quoted);
        for value in [fresh(false), fresh(true), header("k-1", false)] {
            assert!(value.unwrap().is_sensitive());
        }
    }

    #[test]
    fn invalid_key_is_refused() {
        for value in ["", "a b", "naïve", "a\nb", "a\"b", "a\\b"] {
            assert!(IdempotencyKey::new(value).is_err(), "{value:?}");
        }
        assert!(IdempotencyKey::new("x".repeat(255)).is_ok());
        assert!(IdempotencyKey::new("x".repeat(256)).is_err());
        let epoch = SystemTime::UNIX_EPOCH;
        assert!(IdempotencyKey::derive("", "x", epoch, DAY).is_err());
        assert!(IdempotencyKey::derive("x", "", epoch, DAY).is_err());
        assert!(IdempotencyKey::derive("x", "x", epoch, Duration::ZERO).is_err());
        assert!(IdempotencyKey::derive("x", "x", epoch, Duration::MAX).is_err());
    }

    #[test]
    fn debug_output_does_not_show_the_key() {
        assert!(!format!("{:?}", IdempotencyKey::new("canary").unwrap()).contains("canary"));
    }
}
