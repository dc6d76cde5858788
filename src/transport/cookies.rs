//! The cookies that servers set (RFC 6265).

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cookie_store::{Cookie, CookieDomain, CookieStore};
use http::header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE};
use http::{Request, Uri};
use url::Url;

/// Keeps the cookies that servers set, and sends them back. (Feature `cookies`.)
///
/// Clones share their cookies. They are gone with the last clone.
///
/// # Example
///
/// ```no_run
/// use std::time::Duration;
/// use sevenhops::Client;
/// use sevenhops::transport::CookieJar;
///
/// # async fn f() -> Result<(), Box<dyn std::error::Error>> {
/// let jar = CookieJar::new();
/// let client = Client::builder(Duration::from_secs(10)).transport(|transport| transport.cookies(&jar)).build()?;
/// client.post("https://api.test/login").form(&[("user", "me")]).send().await?.error_for_status()?;
/// client.get("https://api.test/v1/charges").send().await?; // with the cookie of the login
/// jar.clear(); // as if logged out
/// # Ok(()) }
/// ```
///
/// # Rules
///
/// The URL of each attempt and of each redirect decides alone which cookies it gets: by host, path, `Secure` and
/// expiry. So a redirect to another host gets that host's cookies, and none of the first. Each response counts, also
/// one that is redirected or retried. If the caller sets the header `Cookie`, the jar adds none to that request.
///
/// The jar knows no list of public suffixes. A cookie for a whole top-level domain (`Domain=test`) is refused. One for
/// a suffix such as `co.uk` is not: do not share a jar between services that do not trust each other.
///
/// # How people get it wrong
///
/// A redirect back to a URL that the call has visited is a loop, even if a cookie was set in between. To log in through
/// redirects, send two requests.
///
/// # Stale responses
///
/// A response to a request that got cookies of a jar is never stored ([`StaleLayer`](crate::StaleLayer)): it may be for
/// one user alone. A response from before the first cookie may stand in for a failure after it.
///
/// # Bounds
///
/// A cookie may have 4 KiB, a domain 50 cookies, and the jar 3,000. More are dropped, unless expired cookies make room.
///
/// # Reports
///
/// Nothing: no timeline, span, log or archive has a cookie of the jar.
#[derive(Clone, Default)]
pub struct CookieJar(Arc<Mutex<CookieStore>>);

impl CookieJar {
    /// Creates an empty jar.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Removes all cookies.
    pub fn clear(&self) {
        self.store().clear();
    }

    /// Adds the cookies for its URL to a request. Returns the URL, for the cookies of the response, and whether the
    /// request got any.
    pub(super) fn attach<B>(&self, request: &mut Request<B>) -> Option<(Url, bool)> {
        let url = url(request.uri())?;
        let mut has_cookies = false;
        if !request.headers().contains_key(COOKIE)
            && let Some(cookies) = self.cookies(&url)
        {
            request.headers_mut().insert(COOKIE, cookies);
            has_cookies = true;
        }
        Some((url, has_cookies))
    }

    /// Returns the header for a URL; `None` if there is no cookie for it. Longer paths come first (RFC 6265 §5.4).
    fn cookies(&self, url: &Url) -> Option<HeaderValue> {
        let store = self.store();
        let mut cookies = store.matches(url);
        cookies.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        let pairs = cookies.iter().map(|cookie| {
            let (name, value) = cookie.name_value();
            format!("{name}={value}")
        });
        let line = pairs.collect::<Vec<_>>().join("; ");
        let mut value = HeaderValue::try_from(line)
            .ok()
            .filter(|line| !line.is_empty())?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Keeps the cookies that a response from this URL sets.
    pub(super) fn keep(&self, url: &Url, headers: &HeaderMap) {
        for line in headers.get_all(SET_COOKIE) {
            let text = line.to_str().ok().filter(|text| text.len() <= MOST_BYTES);
            // `CookieStore::store_response_cookies` would log the cookie.
            let cookie = text.and_then(|text| Cookie::parse(text.to_owned(), url).ok());
            if let Some(cookie) = cookie.filter(|cookie| !is_top_level(&cookie.domain, url)) {
                let mut store = self.store();
                if has_room(&mut store, &cookie, MOST_COOKIES) {
                    let _ = store.insert(cookie, url);
                }
            }
        }
    }

    fn store(&self) -> MutexGuard<'_, CookieStore> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for CookieJar {
    /// Leaves the cookies out: they are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CookieJar").finish_non_exhaustive()
    }
}

fn url(uri: &Uri) -> Option<Url> {
    Url::parse(&uri.to_string()).ok()
}

/// Whether a cookie is for a whole top-level domain, and not for the host of this name.
fn is_top_level(domain: &CookieDomain, url: &Url) -> bool {
    match domain {
        CookieDomain::Suffix(suffix) => {
            !suffix.trim_end_matches('.').contains('.') && !domain.host_is_identical(url)
        }
        CookieDomain::HostOnly(_) | CookieDomain::NotPresent | CookieDomain::Empty => false,
    }
}

/// Returns whether one more cookie fits into a jar of `most`. One that replaces or removes another always does.
fn has_room(store: &mut CookieStore, cookie: &Cookie<'_>, most: usize) -> bool {
    let domain = cookie.domain.as_cow().unwrap_or_default();
    if store.contains_any(&domain, &cookie.path, cookie.name()) {
        return true;
    }
    let fits = |store: &CookieStore| {
        let of_domain = |known: &&Cookie<'_>| known.domain.as_cow().as_deref() == Some(&*domain);
        store.iter_any().count() < most
            && store.iter_any().filter(of_domain).count() < MOST_OF_DOMAIN
    };
    fits(store) || {
        remove_expired(store);
        fits(store)
    }
}

fn remove_expired(store: &mut CookieStore) {
    let expired = store.iter_any().filter(|cookie| cookie.is_expired());
    let keys = expired.map(|cookie| {
        let domain = cookie.domain.as_cow().unwrap_or_default().into_owned();
        (domain, cookie.path.to_string(), cookie.name().to_owned())
    });
    for (domain, path, name) in keys.collect::<Vec<_>>() {
        store.remove(&domain, &path, &name);
    }
}

/// The numbers of RFC 6265 §6.1.
const MOST_BYTES: usize = 4_096;
const MOST_OF_DOMAIN: usize = 50;
const MOST_COOKIES: usize = 3_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Url {
        url.parse().unwrap()
    }

    fn set(jar: &CookieJar, url: &str, cookie: &str) {
        let line = HeaderValue::from_str(cookie).unwrap();
        jar.keep(&read(url), &HeaderMap::from_iter([(SET_COOKIE, line)]));
    }

    fn sent(jar: &CookieJar, url: &str) -> String {
        let line = jar.cookies(&read(url));
        line.map_or_else(String::new, |line| line.to_str().unwrap().to_owned())
    }

    #[test]
    fn cookie_goes_where_its_host_path_and_scheme_allow() {
        let jar = CookieJar::new();
        set(&jar, "https://api.test/v1/login", "a=1");
        set(&jar, "https://api.test/", "b=2; Path=/; Secure");
        set(
            &jar,
            "https://api.corp.test/",
            "c=3; Domain=corp.test; Path=/",
        );
        for (url, expected) in [
            ("https://api.test/v1/charges", "a=1; b=2"),
            ("http://api.test/v1/charges", "a=1"),
            ("https://api.test/v2", "b=2"),
            ("https://other.test/v1/charges", ""),
            ("https://sub.api.test/v1/charges", ""),
            ("https://www.corp.test/", "c=3"),
            ("https://evilcorp.test/", ""),
        ] {
            assert_eq!(sent(&jar, url), expected, "{url}");
        }
        set(&jar, "https://api.test/", "b=; Path=/; Max-Age=0");
        assert_eq!(sent(&jar, "https://api.test/v2"), "");
        jar.clear();
        assert_eq!(sent(&jar, "https://api.test/v1/charges"), "");
    }

    #[test]
    fn cookie_for_another_domain_or_a_top_level_one_is_dropped() {
        let jar = CookieJar::new();
        set(&jar, "https://evil.test/", "a=1; Domain=api.test");
        set(&jar, "https://evil.test/", "b=2; Domain=test");
        for url in ["https://api.test/", "https://evil.test/", "https://test/"] {
            assert_eq!(sent(&jar, url), "", "{url}");
        }
        set(&jar, "http://localhost/", "c=3; Domain=localhost");
        assert_eq!(sent(&jar, "http://localhost/"), "c=3");
    }

    #[test]
    fn jar_is_bounded_by_bytes_and_by_domain() {
        let jar = CookieJar::new();
        set(
            &jar,
            "https://api.test/",
            &format!("a={}", "x".repeat(4_096)),
        );
        assert_eq!(sent(&jar, "https://api.test/"), "");
        for number in 0..=MOST_OF_DOMAIN {
            set(&jar, "https://api.test/", &format!("c{number}=x"));
        }
        let count = |url| {
            sent(&jar, url)
                .split("; ")
                .filter(|pair| !pair.is_empty())
                .count()
        };
        assert_eq!(count("https://api.test/"), MOST_OF_DOMAIN);
        // A cookie that is known is replaced, one that expired makes room, and other domains have their own.
        set(&jar, "https://api.test/", "c0=new");
        assert!(sent(&jar, "https://api.test/").contains("c0=new"));
        set(&jar, "https://api.test/", "c0=; Max-Age=0");
        set(&jar, "https://api.test/", "another=x");
        assert!(sent(&jar, "https://api.test/").contains("another=x"));
        set(&jar, "https://other.test/", "a=x");
        assert_eq!(count("https://other.test/"), 1);
    }

    #[test]
    fn jar_is_bounded_over_all_domains() {
        let jar = CookieJar::new();
        set(&jar, "https://one.test/", "a=1");
        set(&jar, "https://two.test/", "a=1");
        let url = read("https://three.test/");
        let third = Cookie::parse("a=1", &url).unwrap();
        let known = Cookie::parse("a=2", &read("https://two.test/")).unwrap();
        let mut store = jar.store();
        assert!(has_room(&mut store, &third, 3));
        assert!(!has_room(&mut store, &third, 2));
        assert!(has_room(&mut store, &known, 2));
    }
}
