//! One request of the SDK, and its response.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    CONTENT_LENGTH, CONTENT_LOCATION, HOST, HeaderMap, HeaderName, LOCATION, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, REFERER, SET_COOKIE, TE,
};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body::Body as HttpBody;
use http_body_util::{Either, Full};
use hyper::body::Incoming;

use super::url_map::UrlMap;
use super::{failure, request_body};
use crate::body::Body;
use crate::client::{self, Client, StackBody};
use crate::error::Error;
use crate::hop_by_hop;
use crate::policy::idempotency::is_replayed;
use crate::timeline::Timeline;

/// Sends the requests of a gateway.
pub(super) struct Exchange {
    client: Client,
    urls: UrlMap,
}

pub(super) type GatewayBody = Either<Full<Bytes>, StackBody>;

impl Exchange {
    pub(super) fn new(client: &Client, urls: UrlMap) -> Arc<Self> {
        let client = client.clone();
        Arc::new(Self { client, urls })
    }

    /// Sends a request to the upstream, and returns the response for the SDK.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<GatewayBody> {
        if request.method() == Method::CONNECT {
            return failure::refused(StatusCode::NOT_IMPLEMENTED).map(Either::Left);
        }
        let uri = match self.urls.upstream(request.uri()) {
            Ok(uri) => uri,
            Err(status) => return failure::refused(status).map(Either::Left),
        };
        match self.client.forward(self.outgoing(request, uri)).await {
            Ok(response) => match in_doubt(&response) {
                Some(error) => failure::failed(&error).map(Either::Left),
                None => self.returned(response).map(Either::Right),
            },
            Err(error) => failure::failed(&error).map(Either::Left),
        }
    }

    /// Returns the request as the client sends it: to another host, over a connection with a framing of its own.
    fn outgoing(&self, request: Request<Incoming>, uri: Uri) -> Request<Body> {
        let (mut head, body) = request.into_parts();
        hop_by_hop::remove(&mut head.headers, &FOR_PROXIES);
        head.headers.remove(HOST);
        // The SDK may send the gateway's URL there, which is a secret.
        let referer = head.headers.remove(REFERER);
        if let Some(referer) = referer.and_then(|referer| self.urls.referer(&referer)) {
            head.headers.insert(REFERER, referer);
        }
        if body.size_hint().exact().is_none() {
            head.headers.remove(CONTENT_LENGTH);
        }
        let mut outgoing = Request::new(request_body::request_body(body));
        *outgoing.method_mut() = head.method;
        *outgoing.uri_mut() = uri;
        *outgoing.headers_mut() = head.headers;
        outgoing
    }

    /// Returns the response of the upstream as the gateway's own.
    fn returned(&self, response: Response<StackBody>) -> Response<StackBody> {
        let Timeline(call) = response.body().timeline();
        let (from, is_redirected) = (call.current_uri(), call.is_redirected());
        let (mut head, body) = response.into_parts();
        hop_by_hop::remove(&mut head.headers, &FOR_PROXIES);
        failure::remove_facts(&mut head.headers);
        if is_redirected && !self.urls.is_upstream(&from) {
            // The SDK would send a cookie of another host to this one.
            head.headers.remove(SET_COOKIE);
        }
        self.lead_back(&from, &mut head.headers);
        let mut returned = Response::new(body);
        *returned.status_mut() = head.status;
        *returned.headers_mut() = head.headers;
        returned
    }

    fn lead_back(&self, from: &Uri, headers: &mut HeaderMap) {
        for name in [LOCATION, CONTENT_LOCATION, SET_COOKIE] {
            let is_cookie = name == SET_COOKIE;
            if let http::header::Entry::Occupied(mut values) = headers.entry(name) {
                for value in values.iter_mut() {
                    let mapped = match is_cookie {
                        true => self.urls.cookie(from, value),
                        false => self.urls.reference(from, value),
                    };
                    if let Some(mapped) = mapped {
                        *value = mapped;
                    }
                }
            }
        }
    }
}

/// Returns the failure of a call whose response may be the result of an earlier attempt. An SDK would take the response
/// for the result of the call.
fn in_doubt(response: &Response<StackBody>) -> Option<Error> {
    let timeline = response.body().timeline();
    if is_replayed(response.headers()) || !timeline.is_in_doubt(response.status()) {
        return None;
    }
    let mut head = Response::new(Body::empty());
    *head.status_mut() = response.status();
    *head.headers_mut() = response.headers().clone();
    timeline.clone().insert_into(head.extensions_mut());
    client::Response::from(head).error_for_status().err()
}

/// A credential for a proxy is for the next proxy alone (RFC 9110 §11.7.2): here that is the gateway.
const FOR_PROXIES: [HeaderName; 3] = [PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE];
