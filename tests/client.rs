//! What the client does for its user, on real loopback sockets.

#[cfg(test)]
mod net;

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use sevenhops::testing::{Answer, FaultServer};
    use sevenhops::{Effect, Hop, Kind};

    use super::net::{Net, url};

    #[tokio::test]
    async fn whole_body_calls_return_the_value_and_bound_the_body() {
        let net = Net::new().await;
        let server = FaultServer::builder().start().await.unwrap();
        let (client, url) = (net.client(), url(&server, "http"));
        let value: std::collections::HashMap<String, bool> =
            client.get(&url).fetch_json().await.unwrap();
        assert!(value["ok"]);
        let error = client
            .get(&url)
            .body_limit(10)
            .fetch_bytes()
            .await
            .unwrap_err();
        assert_eq!(
            (error.hop(), error.kind()),
            (Some(Hop::Receive), Kind::TooLarge)
        );
        let error = client
            .get(&url)
            .body_limit(10)
            .send()
            .await
            .unwrap()
            .bytes()
            .await;
        assert_eq!(error.unwrap_err().kind(), Kind::TooLarge);
    }

    #[tokio::test]
    async fn client_certificate_that_is_missing_is_tls_without_effect() {
        let net = Net::new().await;
        let identity = net.authority.issue(&["api.test"]).unwrap();
        let config = identity.server_config_with_client_auth(&net.authority, &[]);
        let server = FaultServer::builder()
            .tls_config(config)
            .start()
            .await
            .unwrap();
        let url = url(&server, "https");
        let error = net
            .client()
            .post(&url)
            .body("amount=100")
            .send()
            .await
            .unwrap_err();
        assert_eq!(
            (error.hop(), error.kind()),
            (Some(Hop::Tls), Kind::Alert),
            "{error:?}"
        );
        assert_eq!(error.effect(), Effect::None);
        assert_eq!(server.requests_seen(), 0);

        let own = net.authority.issue(&["client.test"]).unwrap();
        let client = net.builder().tls(net.authority.client_config_as(&own));
        let response = client.build().unwrap().post(&url).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn response_turns_into_reqwests_and_back() {
        let net = Net::new().await;
        let server = FaultServer::builder().start().await.unwrap();
        let url = url(&server, "http");
        let response = net.client().get(&url).send().await.unwrap();
        let theirs = reqwest::Response::from(response);
        assert_eq!(theirs.url().as_str(), url);
        let ours = sevenhops::Response::from(theirs);
        assert_eq!(ours.uri().to_string(), url);
        assert_eq!(ours.text().await.unwrap(), r#"{"ok":true}"#);
    }

    #[tokio::test]
    async fn requests_are_built_as_reqwests_users_expect() {
        let net = Net::new().await;
        let server = FaultServer::builder().start().await.unwrap();
        let base = url(&server, "http").replace("http://", "http://us%65r:pass@");
        let request = net
            .client()
            .put(format!("{base}?a=1"))
            .query(&[("b", "2 3")])
            .header("x-one", "1")
            .json(&[1, 2]);
        request.send().await.unwrap();
        let seen = &server.requests()[0];
        assert_eq!(
            (seen.method.as_str(), &*seen.target),
            ("PUT", "/v1/charges?a=1&b=2+3")
        );
        assert_eq!(seen.headers["authorization"], "Basic dXNlcjpwYXNz");
        assert_eq!(seen.headers["content-type"], "application/json");
        assert_eq!(seen.headers["x-one"], "1");
        assert_eq!(&seen.body[..], b"[1,2]");
    }

    #[tokio::test]
    async fn hook_cannot_undo_the_resolver_or_the_redirects() {
        let net = Net::new().await;
        let anywhere = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
        let refused = net
            .builder()
            .reqwest(move |builder| builder.resolve("api.test", anywhere))
            .build()
            .unwrap_err();
        assert!(refused.to_string().starts_with("reqwest hook"), "{refused}");

        let server = FaultServer::builder().start().await.unwrap();
        let moved = Answer::new(StatusCode::FOUND).header("location", "/elsewhere");
        server.default_reply(moved);
        let client = net
            .builder()
            .reqwest(|builder| builder.redirect(reqwest::redirect::Policy::limited(5)))
            .build()
            .unwrap();
        let response = client.get(url(&server, "http")).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::FOUND);
        assert_eq!(server.requests_seen(), 1);
    }
}
