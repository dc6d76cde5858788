//! The origin of a URL, for lookups.

use std::cell::RefCell;
use std::fmt::{self, Write};
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::{LazyLock, OnceLock};

use http::Uri;
use http::uri::{Authority, Scheme};

use super::{Destination, RELATIVE, default_port};

/// A destination for lookups only: its text without an allocation, and its hash for every registry.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    text: Text,
    hash: u64,
    /// Made once, so that all registries keep the same text.
    destination: OnceLock<Destination>,
}

impl Origin {
    /// Returns the origin of a request: that of its URL, or the common one of all relative URIs.
    ///
    /// Each thread remembers the latest one, because most calls ask for the same one several times.
    pub(crate) fn of_request(uri: &Uri) -> Self {
        if let Some(known) = Latest::of(uri) {
            return known;
        }
        let Some(origin) = Self::of(uri) else {
            let mut text = Text::beginning(b"");
            text.push(RELATIVE);
            return Self::by(text);
        };
        Latest::remember(uri, &origin);
        origin
    }

    /// Returns the origin that stands for this destination in lookups.
    #[cfg(feature = "client")]
    pub(crate) fn named(destination: &Destination) -> Self {
        let mut text = Text::beginning(b"");
        text.push(destination.as_str());
        Self::by(text)
    }

    pub(crate) fn of(uri: &Uri) -> Option<Self> {
        let scheme = uri.scheme_str()?;
        let authority = uri.authority()?;
        let mut bytes = authority.as_str().bytes();
        let (host, port) = if bytes.any(|byte| matches!(byte, b'@' | b':')) {
            let port = authority.port_u16();
            let port = port.filter(|port| *port != default_port(scheme));
            (authority.host(), port)
        } else {
            // The authority is usually only a host, which needs no parsing.
            (authority.as_str(), None)
        };
        if host.is_empty() {
            return None;
        }
        // A lowercase scheme is copied together with its separator.
        let mut text = match scheme {
            "https" => Text::beginning(b"https://"),
            "http" => Text::beginning(b"http://"),
            _ => {
                let mut text = Text::beginning(b"");
                text.push(scheme);
                text.push("://");
                text
            }
        };
        text.push(host);
        if let Some(port) = port {
            let _ = write!(text, ":{port}");
        }
        text.make_ascii_lowercase();
        Some(Self::by(text))
    }

    fn by(text: Text) -> Self {
        let hash = key_hash(text.as_bytes());
        Self {
            text,
            hash,
            destination: OnceLock::new(),
        }
    }

    pub(crate) fn to_destination(&self) -> Destination {
        let text = || String::from_utf8_lossy(self.text.as_bytes()).into();
        self.destination.get_or_init(|| Destination(text())).clone()
    }

    pub(crate) const fn key_hash(&self) -> u64 {
        self.hash
    }

    /// Returns whether it equals this destination.
    pub(crate) fn is(&self, destination: &Destination) -> bool {
        self.text.as_bytes() == destination.0.as_bytes()
    }
}

/// The origin that a thread asked for most recently.
struct Latest {
    scheme: Scheme,
    authority: Authority,
    origin: Origin,
}

thread_local! {
    static LATEST: RefCell<Option<Latest>> = const { RefCell::new(None) };
}

impl Latest {
    /// Returns the origin of a URL, if it is that of the latest one. A thread that is ending remembers none.
    fn of(uri: &Uri) -> Option<Origin> {
        let known = LATEST.try_with(|latest| {
            let latest = latest.try_borrow().ok()?;
            let latest = latest.as_ref()?;
            let is_same = uri.authority().map(Authority::as_str) == Some(latest.authority.as_str())
                && uri.scheme() == Some(&latest.scheme);
            is_same.then(|| latest.origin.clone())
        });
        known.ok().flatten()
    }

    /// Remembers the origin of a URL. One with userinfo is not kept, because a password may be in it.
    fn remember(uri: &Uri, origin: &Origin) {
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return;
        };
        if authority.as_str().contains('@') {
            return;
        }
        let latest = Self {
            scheme: scheme.clone(),
            authority: authority.clone(),
            origin: origin.clone(),
        };
        let _ = LATEST.try_with(|known| {
            known
                .try_borrow_mut()
                .map(|mut known| *known = Some(latest))
        });
    }
}

/// Hashes both forms alike. The seed is random, so a caller that chooses hosts cannot choose collisions.
pub(super) fn key_hash(text: &[u8]) -> u64 {
    static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    SEED.hash_one(Bytes(text))
}

/// Bytes that are hashed without their length, because nothing follows them.
struct Bytes<'a>(&'a [u8]);

impl Hash for Bytes<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.0);
    }
}

/// A text that is built on the stack if it fits.
#[derive(Clone, Debug)]
enum Text {
    Short([u8; ROOM], usize),
    Long(Vec<u8>),
}

impl Text {
    fn beginning<const N: usize>(with: &[u8; N]) -> Self {
        let mut bytes = [0; ROOM];
        bytes[..N].copy_from_slice(with);
        Self::Short(bytes, N)
    }

    fn push(&mut self, piece: &str) {
        let piece = piece.as_bytes();
        match self {
            Self::Short(bytes, len) => match bytes.get_mut(*len..*len + piece.len()) {
                Some(room) => {
                    room.copy_from_slice(piece);
                    *len += piece.len();
                }
                None => *self = Self::Long([&bytes[..*len], piece].concat()),
            },
            Self::Long(bytes) => bytes.extend_from_slice(piece),
        }
    }

    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short(bytes, len) => &bytes[..*len],
            Self::Long(bytes) => bytes,
        }
    }

    fn make_ascii_lowercase(&mut self) {
        match self {
            Self::Short(bytes, _) => bytes.make_ascii_lowercase(),
            Self::Long(bytes) => bytes.make_ascii_lowercase(),
        }
    }
}

impl Write for Text {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        self.push(piece);
        Ok(())
    }
}

/// Long enough for nearly every origin.
const ROOM: usize = 96;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origin_that_is_remembered_is_the_one_of_its_url() {
        let urls = [
            "https://api.test/1",
            "https://api.test/2",
            "http://api.test",
            "https://api.test:8443",
            "https://API.test",
            "https://u:p@api.test",
            "https://api.test",
            "/1",
            "https://other.test",
            "/2",
        ];
        for url in urls.iter().chain(urls.iter().rev()) {
            let uri: Uri = url.parse().unwrap();
            let remembered = Origin::of_request(&uri);
            let expected = Destination::of_request(&uri);
            assert!(remembered.is(&expected), "{url}");
            let anew = Origin::of(&uri).map(|origin| origin.key_hash());
            assert!(
                anew.is_none_or(|hash| hash == remembered.key_hash()),
                "{url}"
            );
        }
    }
}
