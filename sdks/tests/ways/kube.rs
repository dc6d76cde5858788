//! kube, which takes a tower service.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, PostParams};
use kube::client::{Body, ConfigExt};
use kube::{Client, Config};
use serde_json::Value;
use tower::ServiceBuilder;

use super::services::{self, OverService, Service};
use super::world::BoxError;

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
async fn lost_answer_to_a_post_is_asked_for_again_only_where_keys_are_honoured() {
    services::lost_answer_to_a_post_is_asked_for_again_only_where_keys_are_honoured::<Maps>().await;
}

#[tokio::test]
async fn dns_reaches_the_pool() {
    services::dns_reaches_the_pool::<Maps>().await;
}
