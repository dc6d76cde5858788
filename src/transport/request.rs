//! The head of a request as it is sent.

use http::header::{CONTENT_LENGTH, HOST, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version};
use http_body::Body;

use super::proxy::Speaks;
use super::routing::Routing;
use super::wire::exchange::{ExchangeError, SendBody};
use crate::error::ReasonText;
use crate::hop_by_hop::OF_CONNECTIONS;

/// The parts of a request.
pub(super) struct Form<'a> {
    pub(super) head: &'a Parts,
    pub(super) routing: &'a Routing,
    /// Whether a length that the caller announced may be sent.
    pub(super) has_length: bool,
}

/// Returns the request for an HTTP/1 connection (RFC 9112 §3.2).
pub(super) fn http1(form: &Form<'_>, body: SendBody) -> Result<Request<SendBody>, ExchangeError> {
    let Form { head, routing, .. } = form;
    if head.version == Version::HTTP_2 {
        return Err(invalid(ReasonText::new("the server does not speak HTTP/2")));
    }
    // With space for one more: a clone of the map would grow immediately.
    let mut headers = HeaderMap::with_capacity(head.headers.len() + 2);
    if !head.headers.contains_key(HOST) {
        headers.insert(HOST, routing.host.clone());
    }
    for (name, value) in &head.headers {
        if form.has_length || *name != CONTENT_LENGTH {
            headers.append(name, value.clone());
        }
    }
    match body.size_hint().exact() {
        // Without it, hyper leaves out the body of a GET or HEAD.
        None if !headers.contains_key(CONTENT_LENGTH) => {
            let chunked = HeaderValue::from_static("chunked");
            headers.entry(TRANSFER_ENCODING).or_insert(chunked);
        }
        Some(0) if announces_no_content(&head.method) => {
            let none = HeaderValue::from_static("0");
            headers.entry(CONTENT_LENGTH).or_insert(none);
        }
        _ => {}
    }
    let via = routing.via.as_deref();
    let forwards = via.filter(|via| via.speaks == Speaks::Http && !routing.target.is_secure);
    let path = path(&head.uri);
    let uri = match forwards {
        None => Uri::from(path),
        Some(via) => {
            if let Some(credentials) = &via.authorization {
                let entry = headers.entry(PROXY_AUTHORIZATION);
                entry.or_insert_with(|| credentials.clone());
            }
            absolute(Scheme::HTTP, routing.target.authority.clone(), path)?
        }
    };
    Ok(request(
        &head.method,
        (uri, Version::HTTP_11),
        headers,
        body,
    ))
}

/// Returns the request for an HTTP/2 stream (RFC 9113 §8.2.2, §8.3).
pub(super) fn http2(form: &Form<'_>, body: SendBody) -> Result<Request<SendBody>, ExchangeError> {
    let Form { head, routing, .. } = form;
    let mut headers = head.headers.clone();
    let named = headers.remove(HOST);
    let named = named.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let authority = match named {
        Some(named) => named,
        None => routing.target.authority.clone(),
    };
    for name in OF_CONNECTIONS {
        headers.remove(name);
    }
    if headers.get(TE).is_some_and(|te| te != "trailers") {
        headers.remove(TE);
    }
    if let Some(length) = body.size_hint().exact()
        && (length > 0 || announces_no_content(&head.method))
    {
        let entry = headers.entry(CONTENT_LENGTH);
        entry.or_insert_with(|| HeaderValue::from(length));
    }
    let scheme = if routing.target.is_secure {
        Scheme::HTTPS
    } else {
        Scheme::HTTP
    };
    let uri = absolute(scheme, authority, path(&head.uri))?;
    Ok(request(&head.method, (uri, Version::HTTP_2), headers, body))
}

fn request(
    method: &Method,
    (uri, version): (Uri, Version),
    headers: HeaderMap,
    body: SendBody,
) -> Request<SendBody> {
    let mut request = Request::new(body);
    *request.method_mut() = method.clone();
    *request.uri_mut() = uri;
    *request.version_mut() = version;
    *request.headers_mut() = headers;
    request
}

fn path(uri: &Uri) -> PathAndQuery {
    let path = uri.path_and_query();
    let path = path.filter(|path| path.as_str().starts_with(['/', '*']));
    match (path, uri.query()) {
        (Some(path), _) => path.clone(),
        (None, Some(query)) => format!("/?{query}").parse().unwrap_or_else(|_| root()),
        (None, None) => root(),
    }
}

fn root() -> PathAndQuery {
    PathAndQuery::from_static("/")
}

fn absolute(
    scheme: Scheme,
    authority: Authority,
    path: PathAndQuery,
) -> Result<Uri, ExchangeError> {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(scheme);
    parts.authority = Some(authority);
    parts.path_and_query = Some(path);
    Uri::from_parts(parts).map_err(invalid)
}

/// Returns whether a request of this method announces that it has no content (RFC 9110 §8.6).
fn announces_no_content(method: &Method) -> bool {
    !matches!(
        *method,
        Method::GET
            | Method::HEAD
            | Method::DELETE
            | Method::OPTIONS
            | Method::TRACE
            | Method::CONNECT
    )
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> ExchangeError {
    ExchangeError {
        error: crate::error::Error::invalid().because(error).into(),
        is_unsent: false,
    }
}
