//! The cookie jar through redirects and retries.

use std::time::Duration;

use http::StatusCode;
use http::header::COOKIE;
use sevenhops::testing::{CannedResponse, DnsScript, FaultServer, RecordedRequest};
use sevenhops::transport::CookieJar;
use sevenhops::{Consistency, StaleConfig};

use crate::net::{Net, url};

fn cookie(seen: &RecordedRequest) -> Option<&str> {
    Some(seen.headers.get(COOKIE)?.to_str().unwrap())
}

#[tokio::test]
async fn each_leg_of_a_redirect_gets_the_cookies_of_its_own_host() {
    let net = Net::new().await;
    let there = DnsScript::addresses([[127, 0, 0, 1].into()]);
    net.dns.set("other.test", there);
    let home = FaultServer::builder().start().await.unwrap();
    let away = FaultServer::builder().start().await.unwrap();
    let (jar, home_url) = (CookieJar::new(), url(&home, "http"));
    let away_url = format!("http://other.test:{}/v2", away.addr().port());
    let leads = |to: &str| CannedResponse::new(StatusCode::FOUND).header("location", to);
    let set = "session=canary-home; Path=/";
    home.on_request([leads(&away_url).header("set-cookie", set).into()]);
    let back = leads(&home_url).header("set-cookie", "visit=canary-away; HttpOnly");
    away.on_request([back.into()]);
    let client = net
        .builder()
        .transport(|transport| transport.cookies(&jar))
        .build()
        .unwrap();

    let response = client
        .get(format!("{home_url}?first"))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    client.get(&away_url).send().await.unwrap();
    let [first, second] = &home.requests()[..] else {
        panic!("{}", home.requests_seen());
    };
    assert_eq!(cookie(first), None);
    assert_eq!(cookie(second), Some("session=canary-home"));
    let [first, second] = &away.requests()[..] else {
        panic!("{}", away.requests_seen());
    };
    assert_eq!(cookie(first), None);
    assert_eq!(cookie(second), Some("visit=canary-away"));

    let timeline = response.timeline().unwrap();
    let shown = format!("{timeline} {timeline:?} {jar:?} {client:?} {response:?}");
    assert!(!shown.contains("canary"), "{shown}");
}

#[tokio::test]
async fn cookie_of_a_failed_attempt_is_sent_with_the_retry_and_clones_share_it() {
    let net = Net::new().await;
    let server = net.http2().await;
    let (jar, url) = (CookieJar::new(), url(&server, "https"));
    let client = net
        .builder()
        .transport(|transport| transport.cookies(&jar))
        .build()
        .unwrap();
    let unavailable = CannedResponse::new(StatusCode::SERVICE_UNAVAILABLE);
    let unavailable = unavailable.header("set-cookie", "a=1; Secure");
    server.on_request([unavailable.header("set-cookie", "b=2; Path=/").into()]);
    client.get(&url).send().await.unwrap();
    let other = net
        .builder()
        .transport(|transport| transport.cookies(&jar.clone()))
        .build()
        .unwrap();
    other.get(&url).send().await.unwrap();
    other
        .get(&url)
        .header("cookie", "own=1")
        .send()
        .await
        .unwrap();
    jar.clear();
    other.get(&url).send().await.unwrap();
    let seen = server.requests();
    let sent: Vec<_> = seen.iter().map(cookie).collect();
    let both = Some("a=1; b=2");
    assert_eq!(sent, [None, both, both, Some("own=1"), None]);
}

#[tokio::test]
async fn client_without_a_jar_keeps_no_cookie() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    server.default_reply(CannedResponse::default().header("set-cookie", "a=1"));
    let (client, url) = (net.client(), url(&server, "http"));
    for _ in 0..2 {
        client.get(&url).send().await.unwrap();
    }
    assert!(server.requests().iter().all(|seen| cookie(seen).is_none()));
}

#[tokio::test]
async fn response_of_one_user_never_stands_in_for_another_users() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let (jar, url) = (CookieJar::new(), url(&server, "http"));
    let stale = StaleConfig::new().store_bytes(1 << 20);
    let stale = stale.consistency(Consistency::StaleFor(Duration::from_secs(60)));
    let client = net
        .builder()
        .transport(|transport| transport.cookies(&jar))
        .config(|config| config.stale(stale))
        .build()
        .unwrap();
    let login = |user: &str| {
        let set = format!("session={user}; Path=/");
        CannedResponse::new(StatusCode::OK).header("set-cookie", &set)
    };
    server.on_request([login("alice").into(), CannedResponse::json("alice").into()]);
    client.post(&url).send().await.unwrap();
    client
        .get(&url)
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    jar.clear();
    let down = CannedResponse::new(StatusCode::SERVICE_UNAVAILABLE);
    server.on_request([login("bob").into(), down.into()]);
    client.post(format!("{url}?login")).send().await.unwrap();
    let response = client
        .get(&url)
        .options(|options| options.retry(false))
        .send()
        .await
        .unwrap();
    assert!(!response.is_stale());
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
}
