//! kube, which takes a tower service.

use futures_util::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, PostParams, WatchEvent, WatchParams};
use kube::client::{Body, ConfigExt};
use kube::{Client, Config};
use serde_json::Value;
use sevenhops::{
    Config as SevenhopsConfig, Effect, Hop, Kind, TimeoutsConfig,
    testing::{CannedResponse, Gate},
};

use tower::ServiceBuilder;

use super::services::{self, OverService, Service};
use super::world::{BoxError, DEADLINE, World, base, found, told};

type Maps = Api<ConfigMap>;

impl OverService for Maps {
    type Body = Body;

    const ANSWER: &str =
        r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "prices"}}"#;

    fn copy(body: &Body) -> Option<Body> {
        body.try_clone()
    }

    fn empty() -> Body {
        Body::empty()
    }

    fn over(service: Service<Body>, url: &str) -> Self {
        let config = Config::new(url.parse().unwrap());
        let service = ServiceBuilder::new()
            .layer(config.base_uri_layer())
            .option_layer(config.auth_layer().unwrap())
            .map_err(BoxError::from)
            .service(service);
        Self::default_namespaced(Client::new(service, config.default_namespace))
    }

    async fn get(&self) -> Result<Value, BoxError> {
        Ok(serde_json::to_value(Self::get(self, "prices").await?)?)
    }

    async fn post(&self) -> Result<Value, BoxError> {
        let map = serde_json::from_str(Self::ANSWER)?;
        let made = self.create(&PostParams::default(), &map).await?;
        Ok(serde_json::to_value(made)?)
    }
}

#[tokio::test]
async fn every_hop_is_named() {
    services::every_hop_is_named::<Maps>().await;
}

#[tokio::test]
async fn throttled_call_is_repeated_when_the_server_said() {
    services::throttled_call_is_repeated_when_the_server_said::<Maps>().await;
}

#[tokio::test]
async fn lost_answer_to_a_post_is_asked_for_again_only_where_keys_are_honored() {
    services::lost_answer_to_a_post_is_asked_for_again_only_where_keys_are_honored::<Maps>().await;
}

#[tokio::test]
async fn dns_reaches_the_pool() {
    services::dns_reaches_the_pool::<Maps>().await;
}

#[tokio::test]
async fn quiet_watch_lasts_as_long_as_it_was_given() {
    let world = World::new().await;
    let server = world.server().await;
    let something = Gate::new();
    let added = format!("{{\"type\": \"ADDED\", \"object\": {}}}\n", Maps::ANSWER);
    server.default_reply(CannedResponse::json(&added).hold_body(&something));
    let watch = async |settings: &SevenhopsConfig| {
        let [maps, _] = services::both::<Maps>(settings, || world.transport(), &base(&server));
        let watch = maps.watch(&WatchParams::default(), "0").await;
        Box::pin(watch.unwrap().map_err(BoxError::from))
    };
    let patient = TimeoutsConfig::new().attempt(DEADLINE).body_idle(DEADLINE);
    let mut patient = watch(&SevenhopsConfig::new(DEADLINE).timeouts(patient)).await;
    let mut impatient = watch(&world.settings()).await;

    let expected = told(Hop::Receive, Kind::Timeout, Effect::Done);
    assert_eq!(found(impatient.next().await.unwrap()), expected);
    something.open();
    let event = patient.next().await.unwrap().unwrap();
    assert!(matches!(event, WatchEvent::Added(_)), "{event:?}");
}
