use super::*;

fn asked<'a>(method: &'a Method, uri: &'a Uri, status: u16) -> RedirectRequest<'a> {
    RedirectRequest {
        method,
        uri,
        status: StatusCode::from_u16(status).unwrap(),
        replayable: true,
    }
}

fn led_to(location: &str) -> HeaderMap {
    HeaderMap::from_iter([(header::LOCATION, location.parse().unwrap())])
}

#[test]
fn method_changes_as_rfc_9110_says() {
    let uri = Uri::from_static("https://api.test/a");
    use Method as M;
    for (status, method, expected) in [
        (301, M::POST, Some(M::GET)),
        (302, M::POST, Some(M::GET)),
        (301, M::PUT, Some(M::PUT)),
        (302, M::GET, Some(M::GET)),
        (303, M::POST, Some(M::GET)),
        (303, M::DELETE, Some(M::GET)),
        (303, M::HEAD, Some(M::HEAD)),
        (307, M::POST, Some(M::POST)),
        (308, M::PATCH, Some(M::PATCH)),
        (300, M::GET, None),
        (304, M::GET, None),
        (305, M::GET, None),
        (306, M::GET, None),
    ] {
        let leg = next(&asked(&method, &uri, status), &led_to("/b")).unwrap();
        assert_eq!(leg.map(|leg| leg.method), expected, "{status} {method}");
    }
}

#[test]
fn location_is_resolved_against_the_url_that_was_asked() {
    let uri = Uri::from_static("https://api.test:8443/v1/a?x=1");
    for (location, expected, away) in [
        ("b", "https://api.test:8443/v1/b", false),
        ("/b?y=2#part", "https://api.test:8443/b?y=2", false),
        ("?z", "https://api.test:8443/v1/a?z", false),
        ("//other.test/b", "https://other.test/b", true),
        ("https://API.test:8443/", "https://api.test:8443/", false),
        ("https://api.test/", "https://api.test/", true),
        (
            "https://u:p@api.test:8443/",
            "https://api.test:8443/",
            false,
        ),
        ("", "https://api.test:8443/v1/a?x=1", false),
        ("./b", "https://api.test:8443/v1/b", false),
        ("../b", "https://api.test:8443/b", false),
        ("/../../b", "https://api.test:8443/b", false),
        ("#part", "https://api.test:8443/v1/a?x=1", false),
        ("https://api.test:8443", "https://api.test:8443/", false),
        ("//api.test:8443/b", "https://api.test:8443/b", false),
        // Bytes that a URL cannot have are percent-encoded.
        ("/café", "https://api.test:8443/caf%C3%A9", false),
        ("/caf%C3%A9", "https://api.test:8443/caf%C3%A9", false),
        (
            "/b?q=é ü",
            "https://api.test:8443/b?q=%C3%A9%20%C3%BC",
            false,
        ),
        ("/支付", "https://api.test:8443/%E6%94%AF%E4%BB%98", false),
        ("/a b", "https://api.test:8443/a%20b", false),
        ("//café.test/b", "https://xn--caf-dma.test/b", true),
        // Whitespace around a value is not part of it.
        (" /b\t", "https://api.test:8443/b", false),
    ] {
        let leg = next(&asked(&Method::GET, &uri, 302), &led_to(location));
        let leg = leg.unwrap().unwrap();
        assert_eq!(
            (leg.uri.to_string().as_str(), leg.away),
            (expected, away),
            "{location}"
        );
    }
}

#[test]
fn userinfo_of_the_caller_goes_along_at_home_and_nowhere_else() {
    let uri = "https://u:p@api.test/a".parse().unwrap();
    let asked = asked(&Method::GET, &uri, 302);
    let leg = |location| next(&asked, &led_to(location)).unwrap().unwrap().uri;
    assert_eq!(leg("/b"), "https://u:p@api.test/b");
    assert_eq!(leg("https://x:y@api.test/b"), "https://u:p@api.test/b");
    assert_eq!(leg("https://x:y@other.test/b"), "https://other.test/b");
}

#[test]
fn malformed_or_missing_location_leads_nowhere() {
    let uri = Uri::from_static("https://api.test/a");
    let asked = asked(&Method::GET, &uri, 302);
    for location in [
        "https://",
        "https://[::1",
        "http://a b/",
        "https://api.test:99999/",
        "//",
        "/b\tc",
        "/b\u{85}c",
    ] {
        assert_eq!(next(&asked, &led_to(location)), Ok(None), "{location}");
    }
    // Latin-1 is not UTF-8.
    for bytes in [&b"/\xff"[..], b"/caf\xe9", b"/caf\xc3"] {
        let value = http::HeaderValue::from_bytes(bytes).unwrap();
        let headers = HeaderMap::from_iter([(header::LOCATION, value)]);
        assert_eq!(next(&asked, &headers), Ok(None));
    }
    assert_eq!(next(&asked, &HeaderMap::new()), Ok(None));
}

#[test]
fn several_locations_lead_somewhere_only_if_they_agree() {
    let uri = Uri::from_static("https://api.test/a");
    let asked = asked(&Method::GET, &uri, 302);
    let mut headers = led_to("/b");
    headers.append(header::LOCATION, "/b".parse().unwrap());
    let leg = next(&asked, &headers).unwrap().unwrap();
    assert_eq!(leg.uri, "https://api.test/b");
    for other in ["/c", "", "https://other.test/b"] {
        let mut headers = led_to("/b");
        headers.append(header::LOCATION, other.parse().unwrap());
        assert_eq!(next(&asked, &headers), Ok(None), "{other}");
        assert_eq!(location(&uri, &headers), Err(Unusable::Ambiguous));
    }
}

#[test]
fn downgrade_and_what_is_not_http_are_refused() {
    let uri = Uri::from_static("https://api.test/a");
    let asked = asked(&Method::GET, &uri, 301);
    for location in ["http://api.test/a", "ftp://api.test/a", "ftps://api.test/a"] {
        let refused = next(&asked, &led_to(location));
        assert_eq!(refused, Err(location.parse().unwrap()), "{location}");
    }
    let plain = Uri::from_static("http://api.test/a");
    let up = RedirectRequest {
        uri: &plain,
        ..asked
    };
    assert!(
        next(&up, &led_to("https://api.test/a"))
            .unwrap()
            .unwrap()
            .away
    );
}

#[test]
fn body_that_is_gone_ends_the_way_unless_it_is_not_needed() {
    let uri = Uri::from_static("https://api.test/a");
    let mut post = asked(&Method::POST, &uri, 307);
    post.replayable = false;
    assert_eq!(next(&post, &led_to("/b")), Ok(None));
    post.status = StatusCode::SEE_OTHER;
    assert!(next(&post, &led_to("/b")).unwrap().is_some());
}

fn request_headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "api.test"),
        ("authorization", "Bearer canary"),
        ("cookie", "canary"),
        ("x-api-key", "canary"),
        ("idempotency-key", "canary"),
        ("accept", "*/*"),
        ("content-type", "text/plain"),
        ("content-length", "3"),
        ("content-digest", "x"),
        ("x-tenant", "eu"),
    ] {
        let name = HeaderName::from_static(name);
        headers.insert(name, value.parse().unwrap());
    }
    headers
}

fn pruned(leg: &NextLeg, body: bool, kept: &[HeaderName]) -> Vec<String> {
    let key = HeaderName::from_static("idempotency-key");
    let mut headers = request_headers();
    let key = Some(&key);
    prune(&mut headers, leg, body, &HeaderRules { kept, key });
    let mut names: Vec<_> = headers.keys().map(ToString::to_string).collect();
    names.sort();
    names
}

fn leg(away: bool) -> NextLeg {
    NextLeg {
        method: Method::GET,
        uri: Uri::from_static("https://other.test/"),
        away,
    }
}

#[test]
fn credentials_cookies_and_key_stay_at_home() {
    assert_eq!(
        pruned(&leg(true), true, &[]),
        ["accept", "content-length", "content-type"]
    );
    let kept = [HeaderName::from_static("x-tenant"), header::COOKIE];
    assert_eq!(pruned(&leg(true), false, &kept), ["accept", "x-tenant"]);
}

#[test]
fn key_is_not_sent_where_a_post_turned_into_a_get() {
    assert_eq!(
        pruned(&leg(false), false, &[]),
        [
            "accept",
            "authorization",
            "cookie",
            "host",
            "x-api-key",
            "x-tenant"
        ]
    );
    let all = pruned(&leg(false), true, &[]);
    assert!(all.contains(&"idempotency-key".to_owned()) && all.contains(&"host".to_owned()));
}

#[test]
fn sensitive_value_stays_at_home_whatever_its_name() {
    let mut headers = HeaderMap::new();
    let mut value = http::HeaderValue::from_static("canary");
    value.set_sensitive(true);
    headers.insert(header::ACCEPT, value);
    let rules = HeaderRules {
        kept: &[],
        key: None,
    };
    prune(&mut headers, &leg(true), true, &rules);
    assert!(headers.is_empty());
}

#[cfg(feature = "client")]
#[test]
fn reason_is_read_from_the_response() {
    let here = Uri::from_static("https://api.test/a");
    for (status, locations, expected) in [
        (302, &[][..], "it has no Location"),
        (
            307,
            &["/a", "/b"],
            "it has several Locations, and they differ",
        ),
        (302, &["https://"], "its Location is malformed"),
        (308, &["/b"], "the request body cannot be sent again"),
        (300, &["/b"], "this status is never followed"),
        (305, &[], "this status is never followed"),
        (399, &[], "this status is never followed"),
    ] {
        let mut headers = HeaderMap::new();
        for location in locations {
            headers.append(header::LOCATION, location.parse().unwrap());
        }
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(unfollowed(&here, status, &headers), expected, "{status}");
    }
}

#[test]
fn conditions_of_a_write_are_not_sent_with_the_get_after_it() {
    let rules = HeaderRules {
        kept: &[],
        key: None,
    };
    for (is_write, left) in [(true, 2), (false, 0)] {
        let mut headers = HeaderMap::new();
        for name in ["if-match", "if-unmodified-since"] {
            headers.insert(HeaderName::from_static(name), "\"a\"".parse().unwrap());
        }
        prune(&mut headers, &leg(false), is_write, &rules);
        assert_eq!(headers.len(), left);
    }
}
