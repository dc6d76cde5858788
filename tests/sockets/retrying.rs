//! Tests the policies on real sockets: which requests are retried, on which connection, with which body.

mod nginx;

#[cfg(test)]
mod tests {

    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use bytes::Bytes;
    use http::{Method, StatusCode};
    use http_body::Frame;
    use http_body_util::StreamBody;
    use sevenhops::IdempotencyConfig;
    use sevenhops::TimeoutsConfig;
    use sevenhops::hop::NoRetryReason;
    use sevenhops::policy::breaker::CircuitState;

    use sevenhops::policy::retry::{Backoff, Budget, RetryConfig};
    use sevenhops::testing::{CannedResponse, ClosedPort, ConnFault, FaultServer, Gate, Reply};
    use sevenhops::timeout::TimeoutKind;
    use sevenhops::{Body, Client, Destination, Effect, Hop, Kind, Policy};

    use crate::net::{Net, url};

    const MS: fn(u64) -> Duration = Duration::from_millis;

    /// Returns settings that retry with short waits.
    fn quick() -> RetryConfig {
        RetryConfig::new().backoff(Backoff::new().base(MS(5)))
    }

    fn client(net: &Net) -> Client {
        net.builder()
            .config(|config| config.retry(quick()))
            .build()
            .unwrap()
    }

    fn keyed(net: &Net) -> Client {
        let all = IdempotencyConfig::new().honored_by_all(true);
        net.builder()
            .config(|config| config.retry(quick()).idempotency(all))
            .build()
            .unwrap()
    }

    /// Returns a body that is produced while it is sent.
    fn stream(text: &'static str) -> Body {
        Body::wrap(StreamBody::new(Once(Some(Bytes::from_static(
            text.as_bytes(),
        )))))
    }

    struct Once(Option<Bytes>);

    impl futures_core::Stream for Once {
        type Item = Result<Frame<Bytes>, std::convert::Infallible>;

        fn poll_next(
            mut self: std::pin::Pin<&mut Self>,
            _cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Self::Item>> {
            std::task::Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
        }
    }

    #[tokio::test]
    async fn sixty_failing_requests_use_one_connection_because_their_bodies_are_drained() {
        let net = Net::new().await;
        let server = FaultServer::builder().start().await.unwrap();
        let down = CannedResponse::new(StatusCode::SERVICE_UNAVAILABLE).body(vec![b'x'; 20_000]);
        server.default_reply(down.clone());
        let unlimited = quick().budget(Budget::unlimited());
        let client = net
            .builder()
            .config(|config| config.retry(unlimited).circuit_breaker(watching()))
            .build()
            .unwrap();
        for _ in 0..20 {
            let response = client.get(url(&server, "http")).send().await.unwrap();
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(response.bytes().await.unwrap().len(), 20_000);
        }
        assert_eq!((server.requests_seen(), server.connections()), (60, 1));
    }

    #[tokio::test]
    async fn stalled_error_body_delays_the_retry_only_briefly() {
        let net = Net::new().await;
        let server = FaultServer::builder().start().await.unwrap();
        let down = CannedResponse::new(StatusCode::SERVICE_UNAVAILABLE).body("down");
        server.on_request([down.hold_body(&Gate::new()).into()]);
        let response = client(&net).get(url(&server, "http")).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let elapsed = response.timeline().unwrap().elapsed();
        assert!((MS(250)..MS(2_000)).contains(&elapsed), "{elapsed:?}");
    }

    fn watching() -> sevenhops::policy::breaker::CircuitBreakerConfig {
        sevenhops::policy::breaker::CircuitBreakerConfig::new().observe_only(true)
    }

    #[tokio::test]
    async fn whole_body_call_retries_a_body_that_broke_off() {
        let net = Net::new().await;
        let server = FaultServer::builder().start().await.unwrap();
        let broken = Reply::TruncateBody {
            declared: 100,
            sent: Bytes::from_static(b"{\"ok\""),
        };
        let url = url(&server, "http");
        for (method, client, repeated) in [
            ("GET", client(&net), true),
            ("POST", client(&net), false),
            ("POST", keyed(&net), true),
        ] {
            server.on_request([broken.clone()]);
            let before = server.requests_seen();
            let method = method.parse().unwrap();
            let request = client.request(method, &url).body("amount=100");
            match request.fetch_bytes().await {
                Ok(body) => assert!(repeated && body == r#"{"ok":true}"#),
                Err(error) => {
                    assert!(!repeated, "{error}");
                    assert_eq!(
                        (error.hop(), error.effect()),
                        (Some(Hop::Receive), Effect::Done)
                    );
                }
            }
            assert_eq!(
                server.requests_seen() - before,
                if repeated { 2 } else { 1 }
            );
        }
    }

    #[tokio::test]
    async fn whole_body_call_retries_a_status_after_a_body_that_broke_off() {
        let net = Net::new().await;
        let server = FaultServer::builder().start().await.unwrap();
        let broken = Reply::TruncateBody {
            declared: 100,
            sent: Bytes::from_static(b"{\"ok\""),
        };
        server.on_request([
            broken,
            CannedResponse::new(StatusCode::SERVICE_UNAVAILABLE).into(),
        ]);
        let get = client(&net).get(url(&server, "http"));
        assert_eq!(get.fetch_bytes().await.unwrap(), r#"{"ok":true}"#);
        assert_eq!(server.requests_seen(), 3);
    }

    #[tokio::test]
    async fn lost_response_is_retried_with_the_same_key() {
        let net = Net::new().await;
        let server = FaultServer::builder().start().await.unwrap();
        server.on_request([Reply::CloseAfterRequest]);
        let request = keyed(&net).post(url(&server, "http")).body("amount=100");
        assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
        let seen = server.requests();
        assert_eq!(seen.len(), 2);
        assert_eq!(seen[0].headers, seen[1].headers);
        assert_eq!(
            (&seen[0].body, &seen[0].target),
            (&seen[1].body, &seen[1].target)
        );
        assert!(seen[0].headers.contains_key("idempotency-key"));
    }

    #[tokio::test]
    async fn post_without_a_key_is_retried_after_a_refused_connection_or_stream() {
        let net = Net::new().await;
        let port = ClosedPort::new().unwrap();
        let three = net
            .builder()
            .config(|config| config.retry(quick().unsent_attempts(3)));
        let refused = three
            .build()
            .unwrap()
            .post(format!("http://api.test:{}/", port.addr().port()))
            .options(|options| options.generate_key(false));
        let error = refused.send().await.unwrap_err();
        assert_eq!((error.attempts(), error.effect()), (3, Effect::None));
        let spent = NoRetryReason::AttemptsExhausted { made: 3 };
        assert_eq!(error.no_retry_reason(), Some(spent));

        let server = net.http2().await;
        server.on_request([Reply::ResetStream(h2::Reason::REFUSED_STREAM)]);
        let post = client(&net)
            .post(url(&server, "https"))
            .options(|options| options.generate_key(false));
        assert_eq!(
            post.body("amount=100").send().await.unwrap().status(),
            StatusCode::OK
        );
        assert_eq!(server.requests_seen(), 2);
    }

    #[tokio::test]
    async fn stream_that_was_never_taken_is_sent_by_the_next_attempt() {
        let net = Net::new().await;
        let identity = net.authority.issue(&["api.test"]).unwrap();
        let server = FaultServer::builder().tls(identity).start().await.unwrap();
        server.on_connection([ConnFault::CloseAtOnce, ConnFault::ResetOnFirstBytes]);
        let post = client(&net)
            .post(url(&server, "https"))
            .body(stream("amount=100"));
        let response = post.send().await.unwrap();
        assert_eq!(response.timeline().unwrap().attempt_count(), 3);
        let seen = server.requests();
        assert_eq!((seen.len(), &seen[0].body[..]), (1, &b"amount=100"[..]));
    }

    #[tokio::test]
    async fn stream_that_was_taken_is_not_retried() {
        let net = Net::new().await;
        let server = FaultServer::builder().start().await.unwrap();
        server.on_request([Reply::CloseAfterRequest]);
        let put = client(&net)
            .put(url(&server, "http"))
            .body(stream("amount=100"));
        let error = put.send().await.unwrap_err();
        assert_eq!(
            error.no_retry_reason(),
            Some(NoRetryReason::BodyNotReplayable)
        );
        assert_eq!(
            (error.effect(), server.requests_seen()),
            (Effect::Possible, 1)
        );
    }

    #[tokio::test]
    async fn retry_costs_one_token_even_with_a_new_connection() {
        let net = Net::new().await;
        let port = ClosedPort::new().unwrap();
        let two = Budget::new()
            .ratio(0.0)
            .min_retries_per_second(2)
            .window(Duration::from_secs(1));
        let client = net
            .builder()
            .config(|config| config.retry(quick().budget(two)))
            .build()
            .unwrap();
        let get = client.get(format!("http://api.test:{}/", port.addr().port()));
        let error = get
            .options(|options| options.attempts(9))
            .send()
            .await
            .unwrap_err();
        assert_eq!((error.attempts(), error.hop()), (3, Some(Hop::Connect)));
        assert_eq!(
            error.no_retry_reason(),
            Some(NoRetryReason::BudgetExhausted)
        );
    }

    #[tokio::test]
    async fn deadline_that_passes_in_the_handshake_of_attempt_2_names_it() {
        let net = Net::new().await;
        let identity = net.authority.issue(&["api.test"]).unwrap();
        let server = FaultServer::builder().tls(identity).start().await.unwrap();
        server.on_connection([ConnFault::CloseAtOnce, ConnFault::Silent]);
        let long = TimeoutsConfig::new().attempt(MS(600)).tls(MS(600));
        let client = net
            .builder()
            .config(|config| config.retry(quick()).timeouts(long))
            .build()
            .unwrap();
        let deadline = Duration::from_millis(600);
        let get = client
            .post(url(&server, "https"))
            .options(|options| options.deadline(deadline));
        let error = get.send().await.unwrap_err();
        assert_eq!((error.hop(), error.kind()), (Some(Hop::Tls), Kind::Timeout));
        assert_eq!(error.timeout_kind(), Some(TimeoutKind::Deadline));
        assert_eq!((error.attempts(), error.effect()), (2, Effect::None));
    }

    #[tokio::test]
    async fn open_breaker_sends_nothing_and_keeps_the_cause() {
        let net = Net::new().await;
        let server = FaultServer::builder().start().await.unwrap();
        server.default_reply(Reply::CloseAfterRequest);
        let once = quick().attempts(1);
        let client = net
            .builder()
            .config(|config| config.retry(once))
            .build()
            .unwrap();
        let url = url(&server, "http");
        for _ in 0..20 {
            let error = client.post(&url).send().await.unwrap_err();
            assert_eq!(error.hop(), Some(Hop::Server));
        }
        let error = client.post(&url).send().await.unwrap_err();
        assert_eq!(
            (error.rejected_by(), error.effect()),
            (Some(Policy::Breaker), Effect::None)
        );
        assert!(
            error
                .retry_after()
                .is_some_and(|wait| wait > Duration::from_secs(4))
        );
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(cause, "20 of 20 attempts failed, 20 at server (closed)");
        assert_eq!(server.requests_seen(), 20);
        let destination: Destination = url.trim_end_matches("/v1/charges").parse().unwrap();
        assert_eq!(
            client.breaker_handle().state(&destination),
            CircuitState::Open
        );
    }

    #[tokio::test]
    async fn caller_that_goes_away_while_connecting_does_not_count_for_the_breaker() {
        let net = Net::new().await;
        let identity = net.authority.issue(&["api.test"]).unwrap();
        let server = FaultServer::builder().tls(identity).start().await.unwrap();
        server.on_connection((0..30).map(|_| ConnFault::Silent));
        let client = net.client();
        for connection in 1..=30 {
            let mut calling = Box::pin(client.get(url(&server, "https")).send());
            tokio::select! {
                _ = &mut calling => panic!("the server never responds"),
                _ = server.wait_until(move |stats| stats.connections >= connection) => {}
            }
        }
        let response = client.get(url(&server, "https")).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.timeline().unwrap().attempt_count(), 1);
    }

    #[tokio::test]
    async fn retry_of_a_request_behind_a_stream_limit_arrives_once() {
        let net = Net::new().await;
        let server = net.http2().await;
        server.on_connection([ConnFault::MaxStreams(1)]);
        let occupant = Arc::new(Mutex::new(None));
        let freeing = Arc::clone(&occupant);
        let builder = net.builder().config(|config| config.retry(quick()));
        let builder =
            builder.config(|config| config.timeouts(TimeoutsConfig::new().attempt(MS(1_000))));
        let builder = builder.transport(|transport| transport.max_connections(1));
        // The classifier frees the stream as soon as the first attempt of the POST has failed.
        let client = builder.classify(move |failure| {
            if failure.method() == Method::POST {
                drop(freeing.lock().unwrap().take());
            }
            None
        });
        let (client, url) = (client.build().unwrap(), url(&server, "https"));
        client
            .get(&url)
            .send()
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap();
        server.on_request([Reply::StallInBody {
            declared: 100,
            sent: Bytes::from_static(b"half"),
        }]);
        let response = client.get(&url).send().await.unwrap();
        *occupant.lock().unwrap() = Some(response);
        let mut queued = Box::pin(
            client
                .put(&url)
                .body("queued")
                .options(|options| options.retry(false))
                .send(),
        );
        tokio::select! {
            biased;
            _ = &mut queued => panic!("the stream is taken"),
            () = std::future::ready(()) => {}
        }
        let post = client.post(&url).body("amount=100").send();
        let (queued, response) = tokio::join!(queued, post);
        assert_eq!(queued.unwrap_err().kind(), Kind::ConnectionLimit);
        let response = response.unwrap();
        assert_eq!(response.timeline().unwrap().attempt_count(), 2);
        let ours = |seen: &&sevenhops::testing::RecordedRequest| seen.body == "amount=100";
        let seen = server.requests();
        assert_eq!(seen.iter().filter(ours).count(), 1, "{seen:?}");
        let late = |seen: &&sevenhops::testing::RecordedRequest| {
            seen.body == "queued" && seen.body_complete
        };
        assert_eq!(seen.iter().filter(late).count(), 0, "{seen:?}");
    }

    #[tokio::test]
    async fn response_after_the_timeout_is_discarded_with_its_connection() {
        let net = Net::new().await;
        let server = FaultServer::builder().start().await.unwrap();
        let gate = Gate::new();
        let late = CannedResponse::json(r#"{"late":true}"#).hold(&gate);
        server.on_request([late.into()]);
        let short = TimeoutsConfig::new().attempt(MS(300));
        let client = net
            .builder()
            .config(|config| config.retry(quick()).timeouts(short))
            .build()
            .unwrap();
        let response = client.get(url(&server, "http")).send().await.unwrap();
        gate.open();
        assert_eq!(response.timeline().unwrap().attempt_count(), 2);
        assert_eq!(response.text().await.unwrap(), r#"{"ok":true}"#);
        server.wait_until(|stats| stats.open_connections == 1).await;
        assert_eq!(server.connections(), 2);
    }

    #[tokio::test]
    async fn retry_arrives_and_the_given_up_attempt_does_not() {
        let net = Net::new().await;
        let server = FaultServer::builder().start().await.unwrap();
        server.on_request([Reply::Silent]);
        let short = TimeoutsConfig::new().attempt(MS(300));
        let all = IdempotencyConfig::new().honored_by_all(true);
        let builder = net
            .builder()
            .config(|config| config.retry(quick()).timeouts(short).idempotency(all));
        let post = builder.build().unwrap().post(url(&server, "http"));
        let response = post.body("amount=100").send().await.unwrap();
        assert_eq!(response.timeline().unwrap().attempt_count(), 2);
        server.wait_until(|stats| stats.given_up == 1).await;
        assert_eq!(server.requests_seen(), 2);
    }
}
