//! The gateway under SDKs that accept nothing but a base URL.

#[cfg(test)]
mod gateway {
    use std::time::Duration;

    use http::StatusCode;
    use opensearch::http::Url;
    use opensearch::http::transport::{SingleNodeConnectionPool, TransportBuilder};
    use opensearch::{GetParts, OpenSearch, PutScriptParts};
    use serde_json::{Value, json};
    use sevenhops::Client;
    use sevenhops::sdk::{self, Gateway};
    use sevenhops::testing::{CannedResponse, ClosedPort, DnsScript, FaultServer, Reply};
    use sevenhops::testing::{ScriptedDns, TestCa};
    use twilight_http::error::ErrorType;
    use twilight_model::id::Id;

    /// A service over TLS and HTTP/2 at a name that only the client of the test can look up.
    struct Stage {
        server: FaultServer,
        gateway: Gateway,
        _dns: ScriptedDns,
    }

    impl Stage {
        async fn new() -> Self {
            let dns = ScriptedDns::start().await.unwrap();
            dns.set("api.test", DnsScript::addresses([[127, 0, 0, 1].into()]));
            let authority = TestCa::new().unwrap();
            let identity = authority.issue(&["api.test"]).unwrap();
            let server = FaultServer::builder().tls(identity).http2();
            let server = server.start().await.unwrap();
            let (config, resolver) = (authority.client_config(), dns.resolver());
            let client = Client::builder(Duration::from_secs(10))
                .transport(|transport| transport.tls(config).resolver(resolver))
                .build()
                .unwrap();
            let upstream = format!("https://api.test:{}", server.addr().port());
            let gateway = sdk::gateway(&client, upstream).unwrap();
            Self {
                server,
                gateway,
                _dns: dns,
            }
        }

        fn host(&self) -> String {
            format!("api.test:{}", self.server.addr().port())
        }
    }

    /// A gateway to a port at which no process listens.
    fn refused() -> (ClosedPort, Gateway) {
        let port = ClosedPort::new().unwrap();
        let client = Client::builder(Duration::from_secs(2)).build().unwrap();
        let gateway = sdk::gateway(&client, format!("http://{}", port.addr())).unwrap();
        (port, gateway)
    }

    fn search(gateway: &Gateway) -> OpenSearch {
        let pool = SingleNodeConnectionPool::new(Url::parse(gateway.url()).unwrap());
        let transport = TransportBuilder::new(pool).disable_proxy().build().unwrap();
        OpenSearch::new(transport)
    }

    fn discord(gateway: &Gateway) -> twilight_http::Client {
        let host = gateway.url().trim_start_matches("http://").to_owned();
        let builder = twilight_http::Client::builder().proxy(host, true);
        builder.ratelimiter(None).token("Bot x".to_owned()).build()
    }

    #[tokio::test]
    async fn opensearch_reads_and_writes_through_lost_responses() {
        let stage = Stage::new().await;
        stage
            .server
            .default_reply(CannedResponse::json(r#"{"_id":"7","found":true}"#));
        stage.server.on_request([Reply::CloseAfterRequest]);
        let search = search(&stage.gateway);
        let read = search
            .get(GetParts::IndexId("books", "7"))
            .send()
            .await
            .unwrap();
        assert_eq!(read.json::<Value>().await.unwrap()["found"], true);
        assert_eq!(stage.server.requests_seen(), 2);

        stage.server.on_request([Reply::CloseAfterRequest]);
        // A PUT can be sent again, with its body.
        let write = search.put_script(PutScriptParts::Id("rank"));
        let written = write
            .body(json!({"lang": "mustache"}))
            .send()
            .await
            .unwrap();
        assert_eq!(written.status_code().as_u16(), 200);
        let seen = stage.server.requests();
        assert_eq!(seen.len(), 4);
        for seen in &seen[2..] {
            assert_eq!(
                (seen.method.as_str(), seen.path()),
                ("PUT", "/_scripts/rank")
            );
            assert_eq!(seen.headers["host"], stage.host());
            assert_eq!(seen.body, r#"{"lang":"mustache"}"#);
        }
    }

    #[tokio::test]
    async fn opensearch_shows_the_hop_of_a_failure() {
        let (_port, gateway) = refused();
        let search = search(&gateway);
        let read = search
            .get(GetParts::IndexId("books", "7"))
            .send()
            .await
            .unwrap();
        assert_eq!(read.status_code().as_u16(), 502);
        assert_eq!(read.headers()["sevenhops-effect"], "none");
        let problem = read.json::<Value>().await.unwrap();
        assert_eq!(
            (&problem["hop"], &problem["kind"]),
            (&"connect".into(), &"refused".into())
        );
    }

    #[tokio::test]
    async fn twilight_sends_a_message_once_and_learns_that_it_may_have_arrived() {
        let stage = Stage::new().await;
        stage.server.default_reply(Reply::CloseAfterRequest);
        let discord = discord(&stage.gateway);
        let error = discord
            .create_message(Id::new(1))
            .content("hello")
            .await
            .unwrap_err();
        let ErrorType::Response { body, status, .. } = error.kind() else {
            panic!("{error:?}");
        };
        assert_eq!(status.get(), 502);
        let problem: Value = serde_json::from_slice(body).unwrap();
        assert_eq!(
            (&problem["hop"], &problem["effect"]),
            (&"server".into(), &"possible".into())
        );
        let seen = stage.server.requests();
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].path(), "/api/v10/channels/1/messages");
        assert_eq!(seen[0].headers["authorization"], "Bot x");
        assert_eq!(seen[0].headers["host"], stage.host());
    }

    #[tokio::test]
    async fn twilight_reads_through_a_failing_service() {
        let stage = Stage::new().await;
        let failed = CannedResponse::new(StatusCode::SERVICE_UNAVAILABLE);
        stage.server.on_request([failed.into()]);
        stage
            .server
            .default_reply(CannedResponse::json(r#"{"url":"wss://discord.test"}"#));
        let read = discord(&stage.gateway).gateway().await.unwrap();
        assert_eq!(read.model().await.unwrap().url, "wss://discord.test");
        assert_eq!(stage.server.requests_seen(), 2);
    }
}
