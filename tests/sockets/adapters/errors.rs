//! Tests the diagnosis of errors of foreign clients.

use std::error::Error as StdError;
use std::io;

use http::StatusCode;
use sevenhops::testing::{CannedResponse, ConnFault, DnsScript, FaultServer};
use sevenhops::{Effect, Hop, Kind, StandardLayer, sdk};
use tower::{Layer, ServiceExt, service_fn};

use super::world::{Fault, NAME, Told, World, base, told};

/// A resolver that finds no name.
struct Nowhere;

impl reqwest::dns::Resolve for Nowhere {
    fn resolve(&self, _name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        Box::pin(async { Err(Box::from("no such name")) })
    }
}

fn plain(world: &World) -> reqwest::ClientBuilder {
    reqwest::Client::builder().tls_backend_preconfigured(world.authority.client_config())
}

fn found(error: &reqwest::Error) -> Told {
    let found = sdk::classify_error(error);
    assert!(found.error().is_none(), "nothing of ours is in {error:?}");
    told_by(error)
}

fn told_by(error: &(dyn StdError + 'static)) -> Told {
    let found = sdk::classify_error(error);
    (found.hop(), found.kind(), found.effect())
}

#[tokio::test]
async fn hop_comes_from_the_chain_and_the_effect_stays_possible() {
    let world = World::new().await;
    let client = plain(&world).resolve(NAME, ([127, 0, 0, 1], 0).into());
    let client = client.build().unwrap();
    let server = world.server().await;
    server.on_connection([ConnFault::CloseAtOnce]);
    let error = client.get(base(&server)).send().await.unwrap_err();
    assert_eq!(found(&error).0, Some(Hop::Tls), "{error:?}");
    for (fault, hop, kind) in [
        (Fault::Refused, Hop::Connect, Kind::Refused),
        (
            Fault::UnknownIssuer,
            Hop::Tls,
            Kind::CertificateUnknownIssuer,
        ),
    ] {
        let stage = world.stage(fault).await;
        let error = client.get(&stage.url).send().await.unwrap_err();
        assert_eq!(
            found(&error),
            told(hop, kind, Effect::Possible),
            "{error:?}"
        );
    }
    let stage = world.stage(Fault::Truncated).await;
    let error = client.get(&stage.url).send().await.unwrap();
    let error = error.bytes().await.unwrap_err();
    let incomplete = told(Hop::Receive, Kind::Incomplete, Effect::Possible);
    assert_eq!(found(&error), incomplete, "{error:?}");

    let client = plain(&world).dns_resolver(Nowhere).build().unwrap();
    let error = client.get(&stage.url).send().await.unwrap_err();
    assert_eq!(found(&error), told(Hop::Dns, Kind::Other, Effect::Possible));
}

#[tokio::test]
async fn failed_lookup_after_a_redirect_proves_nothing_about_the_request() {
    let world = World::new().await;
    world.dns.set("gone.test", DnsScript::NxDomain);
    let server = FaultServer::start().await.unwrap();
    let names = world.transport().build_hyper().unwrap().resolver();
    let client = plain(&world).dns_resolver(names).build().unwrap();
    let policies = StandardLayer::from_config(&world.settings()).unwrap();
    let over = reqwest_middleware::ClientBuilder::new(client.clone());
    let over = over.with(policies).build();
    let lost = told(Hop::Dns, Kind::NotFound, Effect::Possible);
    let unsent = told(Hop::Dns, Kind::NotFound, Effect::None);
    let away = CannedResponse::new(StatusCode::SEE_OTHER).header("location", "http://gone.test/");
    server.on_request([away.clone().into(), away.into()]);
    let gone = "http://gone.test/";
    for (url, by_stack) in [(server.url("/charge"), lost), (gone.to_owned(), unsent)] {
        let error = client.post(&url).send().await.unwrap_err();
        assert_eq!(told_by(&error), lost, "{url}");
        let error = over.post(&url).send().await.unwrap_err();
        assert_eq!(told_by(&error), by_stack, "{url}");
    }
    assert_eq!(server.requests_seen(), 2);
}

#[tokio::test]
async fn timeout_without_a_hop_gets_none() {
    let world = World::new().await;
    let second = std::time::Duration::from_millis(200);
    let client = plain(&world).resolve(NAME, ([127, 0, 0, 1], 0).into());
    let client = client.timeout(second).build().unwrap();
    for fault in [Fault::TlsSilent, Fault::Silent] {
        let stage = world.stage(fault).await;
        let error = client.get(&stage.url).send().await.unwrap_err();
        assert_eq!(found(&error), told(None, Kind::Timeout, Effect::Possible));
    }
}

#[tokio::test]
async fn error_for_a_status_is_diagnosed_but_proves_nothing() {
    let world = World::new().await;
    let client = plain(&world).resolve(NAME, ([127, 0, 0, 1], 0).into());
    let client = client.build().unwrap();
    let server = world.server().await;
    for (status, hop, kind) in [
        (503, Hop::Server, Kind::Unavailable),
        (502, Hop::Gateway, Kind::BadGateway),
        (404, Hop::Server, Kind::ClientError),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        server.on_request([CannedResponse::new(status).into()]);
        let response = client.get(base(&server)).send().await.unwrap();
        let error = response.error_for_status().unwrap_err();
        assert_eq!(found(&error), told(hop, kind, Effect::Possible));
        assert_eq!(sdk::classify_error(&error).status(), Some(status));
    }
}

#[tokio::test]
async fn request_that_was_never_written_had_no_effect() {
    let world = World::new().await;
    let client = plain(&world).build().unwrap();
    let error = client.get("no url").send().await.unwrap_err();
    let expected = told(Hop::Encode, Kind::InvalidRequest, Effect::None);
    assert_eq!(found(&error), expected, "{error:?}");
}

#[tokio::test]
async fn redirect_that_was_not_followed_has_no_hop() {
    let world = World::new().await;
    let client = plain(&world).resolve(NAME, ([127, 0, 0, 1], 0).into());
    let client = client.redirect(reqwest::redirect::Policy::limited(1));
    let client = client.build().unwrap();
    let server = world.server().await;
    server.default_reply(CannedResponse::new(StatusCode::FOUND).header("location", "/on"));
    let error = client.post(base(&server)).send().await.unwrap_err();
    assert_eq!(
        found(&error),
        told(None, Kind::RedirectRefused, Effect::Possible)
    );
}

#[test]
fn error_of_no_known_client_still_has_a_kind() {
    let reset = io::Error::other(io::Error::from(io::ErrorKind::ConnectionReset));
    let found = sdk::classify_error(&reset);
    assert_eq!((found.hop(), found.kind()), (None, Kind::Reset));
    assert_eq!(found.to_string(), "failed: reset, effect possible");
    let nothing = io::Error::other("out of luck");
    assert_eq!(sdk::classify_error(&nothing).kind(), Kind::Other);
}

#[tokio::test]
async fn error_of_an_inner_call_names_its_hop_and_proves_nothing_about_the_outer_one() {
    let world = World::new().await;
    let stage = world.stage(Fault::Refused).await;
    let (client, url) = (world.client(), stage.url.clone());
    let policies = StandardLayer::from_config(&world.settings()).unwrap();
    let service = policies.layer(service_fn(move |_: http::Request<String>| {
        // A foreign service, which may have sent other requests too.
        let call = client
            .get(&url)
            .options(|options| options.retry(false))
            .send();
        async move {
            let response = call.await.map_err(io::Error::other)?;
            Ok::<_, io::Error>(http::Response::from(response))
        }
    }));
    let request = http::Request::get("https://outer.test/").body(String::new());
    let error = service.oneshot(request.unwrap()).await.unwrap_err();
    assert_eq!(
        (error.hop(), error.kind()),
        (Some(Hop::Connect), Kind::Refused)
    );
    assert_eq!(error.effect(), Effect::Possible);
}

#[tokio::test]
async fn redirect_to_another_scheme_proves_nothing_about_the_request() {
    let server = FaultServer::start().await.unwrap();
    let paid = CannedResponse::new(StatusCode::FOUND).header("location", "myapp://paid");
    server.on_request([paid.into()]);
    let tls = sevenhops::testing::TestCa::new().unwrap().client_config();
    let plain = reqwest::Client::builder().tls_backend_preconfigured(tls);
    let plain = plain.build().unwrap();
    let charge = plain.post(server.url("/v1/charges")).body("amount=100");
    let error = charge.send().await.unwrap_err();
    assert_eq!(server.requests_seen(), 1);
    assert_eq!(sdk::classify_error(&error).effect(), Effect::Possible);
    let error = plain.post("not a URL").send().await.unwrap_err();
    assert_eq!(
        sdk::classify_error(&error).effect(),
        Effect::None,
        "it never was one"
    );
}
