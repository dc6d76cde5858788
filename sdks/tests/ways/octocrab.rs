//! octocrab, which takes a tower service.

use http_body::Body;
use octocrab::service::middleware::base_uri::BaseUriLayer;
use octocrab::{AuthState, OctoBody, Octocrab, OctocrabBuilder};
use serde_json::{Value, json};

use super::services::{self, OverService, Service};
use super::world::BoxError;

impl OverService for Octocrab {
    type Body = OctoBody;

    const ANSWER: &str = r#"{"ok": true}"#;

    /// A body in memory, or none, can be sent again.
    fn copy(body: &OctoBody) -> Option<OctoBody> {
        let empty = body.is_end_stream().then(OctoBody::empty);
        empty.or_else(|| body.try_clone())
    }

    fn empty() -> OctoBody {
        OctoBody::empty()
    }

    fn over(service: Service<OctoBody>, url: &str) -> Self {
        let builder = OctocrabBuilder::new_empty().with_service(service);
        let builder = builder.with_layer(&BaseUriLayer::new(url.parse().unwrap()));
        builder.with_auth(AuthState::None).build().unwrap()
    }

    async fn get(&self) -> Result<Value, BoxError> {
        Ok(Self::get(self, "/repos", None::<&()>).await?)
    }

    async fn post(&self) -> Result<Value, BoxError> {
        let issue = json!({"title": "a"});
        Ok(Self::post(self, "/issues", Some(&issue)).await?)
    }
}

#[tokio::test]
async fn every_hop_is_named() {
    services::every_hop_is_named::<Octocrab>().await;
}

#[tokio::test]
async fn throttled_call_is_repeated_when_the_server_said() {
    services::throttled_call_is_repeated_when_the_server_said::<Octocrab>().await;
}

#[tokio::test]
async fn lost_answer_to_a_post_is_asked_for_again_only_where_keys_are_honored() {
    services::lost_answer_to_a_post_is_asked_for_again_only_where_keys_are_honored::<Octocrab>()
        .await;
}

#[tokio::test]
async fn dns_reaches_the_pool() {
    services::dns_reaches_the_pool::<Octocrab>().await;
}
