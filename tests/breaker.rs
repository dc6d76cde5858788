//! The breaker over a service that is not ours, on a clock that stands still.

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::error::Error as _;
    use std::io;
    use std::pin::Pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    use bytes::Bytes;
    use http::{Request, Response};
    use http_body::{Body, Frame};
    use http_body_util::BodyExt;
    use sevenhops::guard::breaker::{Breaker, BreakerBody, BreakerService, Settings, State};
    use sevenhops::limit::Limits;
    use sevenhops::{
        AttemptLayer, BreakerLayer, CallLayer, Destination, Effect, Error, Guard, Hop, Kind,
        Options,
    };
    use tokio::time::{Instant, advance};
    use tower::{Layer, Service, ServiceExt};

    const SECS: fn(u64) -> Duration = Duration::from_secs;
    /// Longer than any first open time with its jitter.
    const OPEN_TIME: Duration = Duration::from_secs(6);
    const ATTEMPT: Duration = Duration::from_secs(5);

    /// What the leaf does with the next calls.
    #[derive(Clone, Copy, Debug)]
    enum Leaf {
        Answers(u16),
        RetryAfter(&'static str),
        Fails(io::ErrorKind),
        Hangs,
        /// A head, one piece, and then silence.
        Stalls,
        /// A head, one piece, and then an error.
        BreaksOff,
        /// A head, one piece, the end.
        Streams,
    }

    /// A service whose answers are told, and whose calls are counted.
    #[derive(Clone)]
    struct Mock {
        leaf: Arc<Mutex<Leaf>>,
        calls: Arc<AtomicUsize>,
    }

    impl Mock {
        fn new(leaf: Leaf) -> Self {
            Self {
                leaf: Arc::new(Mutex::new(leaf)),
                calls: Arc::default(),
            }
        }

        fn set(&self, leaf: Leaf) {
            *self.leaf.lock().unwrap() = leaf;
        }

        fn calls(&self) -> usize {
            self.calls.load(Ordering::Relaxed)
        }
    }

    impl<B> Service<Request<B>> for Mock {
        type Response = Response<Script>;
        type Error = io::Error;
        type Future = Pin<Box<dyn Future<Output = io::Result<Response<Script>>> + Send>>;

        fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _request: Request<B>) -> Self::Future {
            self.calls.fetch_add(1, Ordering::Relaxed);
            let leaf = *self.leaf.lock().unwrap();
            Box::pin(async move {
                let mut response = Response::new(Script::of(leaf));
                match leaf {
                    Leaf::Answers(status) => *response.status_mut() = status.try_into().unwrap(),
                    Leaf::RetryAfter(seconds) => {
                        *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
                        let value = seconds.parse().unwrap();
                        response.headers_mut().insert("retry-after", value);
                    }
                    Leaf::Fails(kind) => return Err(kind.into()),
                    Leaf::Hangs => std::future::pending().await,
                    Leaf::Stalls | Leaf::BreaksOff | Leaf::Streams => {}
                }
                Ok(response)
            })
        }
    }

    /// A body: what is left of it, and how it ends.
    #[derive(Debug)]
    struct Script {
        piece: bool,
        leaf: Leaf,
    }

    impl Script {
        fn of(leaf: Leaf) -> Self {
            let piece = matches!(leaf, Leaf::Stalls | Leaf::BreaksOff | Leaf::Streams);
            Self { piece, leaf }
        }
    }

    impl Body for Script {
        type Data = Bytes;
        type Error = io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
            if std::mem::take(&mut self.piece) {
                return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"piece")))));
            }
            match self.leaf {
                Leaf::Stalls => Poll::Pending,
                Leaf::BreaksOff => Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into()))),
                _ => Poll::Ready(None),
            }
        }

        fn is_end_stream(&self) -> bool {
            matches!(self.leaf, Leaf::Answers(_) | Leaf::RetryAfter(_))
        }
    }

    fn limits() -> Limits {
        Limits::new(SECS(10)).unwrap()
    }

    fn get() -> Request<()> {
        Request::get("https://u:p@api.test/v1?key=canary")
            .body(())
            .unwrap()
    }

    fn api() -> Destination {
        "https://api.test".parse().unwrap()
    }

    fn over(leaf: Leaf) -> (Mock, BreakerService<Mock>, Breaker) {
        with(leaf, Settings::new())
    }

    fn with(leaf: Leaf, settings: Settings) -> (Mock, BreakerService<Mock>, Breaker) {
        let mock = Mock::new(leaf);
        let layer = BreakerLayer::with(limits(), settings).unwrap();
        (mock.clone(), layer.layer(mock), layer.handle())
    }

    type Answer = Result<Response<BreakerBody<Script>>, Error>;

    async fn ask(service: &BreakerService<Mock>) -> Answer {
        service.clone().oneshot(get()).await
    }

    /// Fails until it is open.
    async fn opened(settings: Settings) -> (Mock, BreakerService<Mock>, Breaker) {
        let (mock, service, breaker) = with(Leaf::Answers(503), settings);
        for _ in 0..20 {
            assert_eq!(ask(&service).await.unwrap().status(), 503);
        }
        assert_eq!(breaker.state(&api()), State::Open);
        (mock, service, breaker)
    }

    async fn fail(service: &BreakerService<Mock>, times: usize) {
        for _ in 0..times {
            let _ = ask(service).await;
        }
    }

    fn ready(service: &mut BreakerService<Mock>, cx: &mut Context<'_>) -> Poll<()> {
        Service::<Request<()>>::poll_ready(service, cx).map(Result::unwrap)
    }

    fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[tokio::test(start_paused = true)]
    async fn refusal_sends_nothing_and_keeps_its_cause() {
        let (mock, service, _) = opened(Settings::new()).await;
        let refused = ask(&service).await.unwrap_err();
        assert_eq!(mock.calls(), 20);
        assert_eq!(refused.refused_by(), Some(Guard::Breaker));
        assert_eq!((refused.hop(), refused.kind()), (None, Kind::Open));
        assert_eq!(refused.effect(), Effect::None);
        let cause = refused.source().unwrap();
        assert_eq!(
            cause.to_string(),
            "20 of 20 attempts failed, 20 at server (unavailable)"
        );
        assert_eq!(cause.source().unwrap().to_string(), "server: unavailable");
    }

    #[tokio::test(start_paused = true)]
    async fn refusal_within_a_call_names_the_call_and_no_secret() {
        let (_, service, _) = opened(Settings::new()).await;
        let call = CallLayer::new(SECS(10)).unwrap().layer(service);
        let refused = call.oneshot(get()).await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            "GET https://api.test/v1 refused by the breaker: open; 0 attempts, no effect"
        );
        assert!(!format!("{refused:?}").contains("canary"));
    }

    #[tokio::test(start_paused = true)]
    async fn refusal_tells_the_truth() {
        let (mock, service, _) = opened(Settings::new()).await;
        let wait = ask(&service).await.unwrap_err().retry_after().unwrap();
        assert!((SECS(5)..OPEN_TIME).contains(&wait), "{wait:?}");
        mock.set(Leaf::Answers(200));
        // The clock of a paused runtime goes by the millisecond.
        advance(wait - Duration::from_millis(2)).await;
        assert!(ask(&service).await.is_err());
        advance(Duration::from_millis(2)).await;
        assert!(ask(&service).await.is_ok());
        assert!(ask(&service).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_on_the_opening_answer_is_honoured() {
        let (mock, service, _) = over(Leaf::Answers(503));
        fail(&service, 19).await;
        mock.set(Leaf::RetryAfter("60"));
        fail(&service, 1).await;
        let wait = ask(&service).await.unwrap_err().retry_after().unwrap();
        assert!((SECS(60)..SECS(72)).contains(&wait), "{wait:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn cancelled_at_every_await_point_a_probe_returns_its_permit() {
        for point in ["before first poll", "pending", "head", "mid-body"] {
            let (mock, service, breaker) = opened(Settings::new()).await;
            advance(OPEN_TIME).await;
            mock.set(match point {
                "before first poll" | "pending" => Leaf::Hangs,
                _ => Leaf::Stalls,
            });
            let mut future = Box::pin(service.clone().oneshot(get()));
            if point != "before first poll" {
                let polled = poll_once(future.as_mut());
                if let Poll::Ready(response) = polled {
                    let mut body = response.unwrap().into_body();
                    assert!(ask(&service).await.is_err(), "{point}: the probe is out");
                    if point == "mid-body" {
                        body.frame().await.unwrap().unwrap();
                        assert!(poll_once(Box::pin(body.frame()).as_mut()).is_pending());
                    }
                    drop(body);
                    // The answer came, and nobody wanted it to its end.
                    assert_eq!(breaker.state(&api()), State::Closed, "{point}");
                    continue;
                }
            }
            drop(future);
            mock.set(Leaf::Answers(200));
            assert!(ask(&service).await.is_ok(), "{point}");
            assert_eq!(breaker.state(&api()), State::Closed, "{point}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn cancelled_call_that_was_never_polled_returns_its_permit() {
        let (mock, mut service, breaker) = opened(Settings::new()).await;
        advance(OPEN_TIME).await;
        mock.set(Leaf::Hangs);
        std::future::poll_fn(|cx| ready(&mut service, cx)).await;
        let probe = service.call(get());
        assert!(ask(&service).await.is_err());
        drop(probe);
        assert_eq!(breaker.state(&api()), State::HalfOpen);
        mock.set(Leaf::Answers(200));
        assert!(ask(&service).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn cancelled_calls_count_nothing() {
        let (mock, service, breaker) = over(Leaf::Hangs);
        for _ in 0..1_000 {
            let mut future = Box::pin(ask(&service));
            assert!(poll_once(future.as_mut()).is_pending());
        }
        assert_eq!(breaker.state(&api()), State::Closed);
        mock.set(Leaf::Answers(503));
        fail(&service, 19).await;
        assert_eq!(breaker.state(&api()), State::Closed);
        fail(&service, 1).await;
        assert_eq!(breaker.state(&api()), State::Open);
    }

    #[tokio::test(start_paused = true)]
    async fn thousand_callers_at_the_edge_are_one_inner_call() {
        for probes in [1, 3] {
            let (mock, service, _) = opened(Settings::new().probes(probes)).await;
            advance(OPEN_TIME).await;
            mock.set(Leaf::Hangs);
            let before = mock.calls();
            let mut callers = tokio::task::JoinSet::new();
            for _ in 0..1_000 {
                let service = service.clone();
                callers.spawn(async move { service.oneshot(get()).await.map(drop) });
            }
            for _ in probes..1_000 {
                let refused = callers.join_next().await.unwrap().unwrap().unwrap_err();
                assert_eq!(refused.refused_by(), Some(Guard::Breaker));
            }
            assert_eq!(mock.calls() - before, probes as usize);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn hung_calls_that_an_outer_timeout_drops_after_the_attempt_limit_count() {
        let (_, service, breaker) = over(Leaf::Hangs);
        let mut hung: Vec<_> = (0..200).map(|_| Box::pin(ask(&service))).collect();
        for future in &mut hung {
            assert!(poll_once(future.as_mut()).is_pending());
        }
        advance(ATTEMPT).await;
        drop(hung);
        assert_eq!(breaker.state(&api()), State::Open);
        let refused = ask(&service).await.unwrap_err();
        assert_eq!(
            refused.source().unwrap().to_string(),
            "20 of 20 attempts failed, 20 at server (timeout)"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn drop_after_the_calls_deadline_is_a_failure() {
        let (_, service, breaker) = over(Leaf::Hangs);
        // The deadline comes long before the attempt limit, and the call drops what is below.
        let call = CallLayer::new(Duration::from_millis(100)).unwrap();
        let call = call.layer(service);
        for _ in 0..20 {
            assert_eq!(breaker.state(&api()), State::Closed);
            assert!(call.clone().oneshot(get()).await.unwrap_err().is_timeout());
        }
        assert_eq!(breaker.state(&api()), State::Open);
    }

    #[tokio::test(start_paused = true)]
    async fn body_that_is_waited_for_at_the_deadline_is_a_failure_at_receive() {
        let (_, service, breaker) = over(Leaf::Stalls);
        let call = CallLayer::new(Duration::from_millis(100)).unwrap();
        let call = call.layer(service.clone());
        for _ in 0..20 {
            assert_eq!(breaker.state(&api()), State::Closed);
            let body = call.clone().oneshot(get()).await.unwrap().into_body();
            assert!(body.collect().await.is_err());
        }
        assert_eq!(breaker.state(&api()), State::Open);
        let cause = ask(&service).await.unwrap_err();
        assert_eq!(
            cause.source().unwrap().to_string(),
            "20 of 20 attempts failed, 20 at receive (timeout)"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn attempt_that_ends_at_its_limit_is_a_failure_at_its_hop() {
        let layer = BreakerLayer::new(limits());
        let attempt = AttemptLayer::new(limits()).layer(Mock::new(Leaf::Hangs));
        let service = layer.layer(attempt);
        let hung: Vec<_> = (0..20)
            .map(|_| tokio::spawn(service.clone().oneshot(get())))
            .collect();
        for hung in hung {
            assert!(hung.await.unwrap().unwrap_err().is_timeout());
        }
        assert_eq!(layer.handle().state(&api()), State::Open);
    }

    #[tokio::test(start_paused = true)]
    async fn body_that_breaks_off_counts_and_one_that_ends_does_not() {
        let (mock, service, breaker) = over(Leaf::BreaksOff);
        for _ in 0..20 {
            let error = ask(&service).await.unwrap().into_body().collect().await;
            let error = error.unwrap_err();
            assert_eq!(
                (error.hop(), error.effect()),
                (Some(Hop::Receive), Effect::Done)
            );
        }
        assert_eq!(breaker.state(&api()), State::Open);
        breaker.close(&api());
        mock.set(Leaf::Streams);
        for _ in 0..40 {
            let body = ask(&service).await.unwrap().into_body();
            assert_eq!(body.collect().await.unwrap().to_bytes(), "piece");
        }
        mock.set(Leaf::BreaksOff);
        for _ in 0..20 {
            let body = ask(&service).await.unwrap().into_body();
            assert!(body.collect().await.is_err());
        }
        assert_eq!(breaker.state(&api()), State::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn streaming_call_is_judged_by_its_head() {
        let (mock, service, breaker) = opened(Settings::new()).await;
        advance(OPEN_TIME).await;
        mock.set(Leaf::Stalls);
        let call = CallLayer::new(SECS(10)).unwrap().layer(service);
        let mut request = get();
        request.extensions_mut().insert(Options::new().streaming());
        let _open = call.oneshot(request).await.unwrap();
        assert_eq!(breaker.state(&api()), State::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn inner_errors_are_kept_and_count() {
        let (_, service, breaker) = over(Leaf::Fails(io::ErrorKind::ConnectionRefused));
        for _ in 0..20 {
            let error = ask(&service).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Refused);
            let cause = error.source().unwrap().downcast_ref::<io::Error>();
            assert_eq!(cause.unwrap().kind(), io::ErrorKind::ConnectionRefused);
        }
        assert_eq!(breaker.state(&api()), State::Open);
    }

    #[tokio::test(start_paused = true)]
    async fn statuses_4xx_and_429_do_not_count() {
        for status in [400, 401, 404, 408, 429] {
            let (_, service, breaker) = over(Leaf::Answers(status));
            fail(&service, 40).await;
            assert_eq!(breaker.state(&api()), State::Closed, "{status}");
        }
        let (_, service, breaker) =
            with(Leaf::Answers(429), Settings::new().throttled_counts(true));
        fail(&service, 20).await;
        assert_eq!(breaker.state(&api()), State::Open);
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_by_guards_below_do_not_count() {
        let layer = BreakerLayer::new(limits());
        let inner = CallLayer::new(SECS(1)).unwrap();
        let (_, isolated, _) = over(Leaf::Hangs);
        let below = BreakerLayer::new(limits());
        below.handle().isolate(&api());
        drop(isolated);
        let service = layer.layer(inner.layer(below.layer(Mock::new(Leaf::Hangs))));
        for _ in 0..40 {
            let refused = service.clone().oneshot(get()).await.unwrap_err();
            assert_eq!(refused.refused_by(), Some(Guard::Breaker));
            assert_eq!(refused.retry_after(), None);
        }
        assert_eq!(layer.handle().state(&api()), State::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_answers_open_it_where_that_is_wanted() {
        let settings = Settings::new().slow_calls(SECS(1), 0.5);
        let layer = BreakerLayer::with(limits(), settings).unwrap();
        let mock = Mock::new(Leaf::Answers(200));
        let slowed = tower::service_fn(move |request: Request<()>| {
            let mock = mock.clone();
            async move {
                tokio::time::sleep(Duration::from_millis(1_500)).await;
                mock.oneshot(request).await
            }
        });
        let service = layer.layer(slowed);
        let slow: Vec<_> = (0..20)
            .map(|_| tokio::spawn(service.clone().oneshot(get())))
            .collect();
        for slow in slow {
            assert_eq!(slow.await.unwrap().unwrap().status(), 200);
        }
        assert_eq!(layer.handle().state(&api()), State::Open);
    }

    #[tokio::test(start_paused = true)]
    async fn watch_sees_every_state_in_order() {
        let (mock, service, breaker) = over(Leaf::Answers(503));
        let mut watch = breaker.watch(&api());
        assert_eq!(watch.current(), State::Closed);
        assert!(poll_once(Box::pin(watch.changed()).as_mut()).is_pending());
        let told: Arc<Mutex<Vec<State>>> = Arc::default();
        let telling = Arc::clone(&told);
        tokio::spawn(async move {
            loop {
                let state = watch.changed().await;
                telling.lock().unwrap().push(state);
            }
        });
        tokio::task::yield_now().await;
        fail(&service, 20).await;
        tokio::task::yield_now().await;
        advance(OPEN_TIME).await;
        mock.set(Leaf::Hangs);
        let mut probe = Box::pin(ask(&service));
        assert!(poll_once(probe.as_mut()).is_pending());
        tokio::task::yield_now().await;
        drop(probe);
        mock.set(Leaf::Answers(200));
        assert!(ask(&service).await.is_ok());
        tokio::task::yield_now().await;
        breaker.isolate(&api());
        tokio::task::yield_now().await;
        breaker.close(&api());
        tokio::task::yield_now().await;
        let expected = [
            State::Open,
            State::HalfOpen,
            State::Closed,
            State::Isolated,
            State::Closed,
        ];
        assert_eq!(*told.lock().unwrap(), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn isolated_destination_is_refused_until_it_is_closed() {
        let (mock, service, breaker) = over(Leaf::Answers(200));
        breaker.isolate(&api());
        advance(SECS(86_400)).await;
        let refused = ask(&service).await.unwrap_err();
        assert_eq!(refused.retry_after(), None);
        assert_eq!(refused.source().unwrap().to_string(), "isolated by hand");
        assert_eq!(mock.calls(), 0);
        assert_eq!(breaker.destinations(), [(api(), State::Isolated)]);
        breaker.close(&api());
        assert!(ask(&service).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn observing_breaker_judges_and_refuses_nothing() {
        let (mock, service, breaker) = with(Leaf::Answers(503), Settings::new().observe_only(true));
        fail(&service, 40).await;
        assert_eq!((breaker.state(&api()), mock.calls()), (State::Open, 40));
        breaker.observe_only(false);
        assert!(ask(&service).await.is_err());
        breaker.observe_only(true);
        advance(OPEN_TIME).await;
        mock.set(Leaf::Answers(200));
        assert!(ask(&service).await.is_ok());
        assert_eq!(breaker.state(&api()), State::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn ten_thousand_successes_then_failures_open_within_the_windows_worth() {
        let (mock, service, breaker) = over(Leaf::Answers(200));
        for _ in 0..10_000 {
            assert!(ask(&service).await.is_ok());
        }
        advance(SECS(10)).await;
        mock.set(Leaf::Answers(503));
        fail(&service, 20).await;
        assert_eq!(breaker.state(&api()), State::Open);
    }

    #[tokio::test(start_paused = true)]
    async fn destinations_do_not_answer_for_each_other() {
        let (mock, service, _) = opened(Settings::new()).await;
        mock.set(Leaf::Answers(200));
        for other in [
            "https://api.test:8443/",
            "http://api.test/",
            "https://b.test/",
        ] {
            let request = Request::get(other).body(()).unwrap();
            assert!(service.clone().oneshot(request).await.is_ok(), "{other}");
        }
        let same = Request::get("https://API.test:443/x").body(()).unwrap();
        assert!(service.clone().oneshot(same).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn request_without_a_destination_is_not_judged() {
        let (_, service, breaker) = over(Leaf::Answers(503));
        for _ in 0..40 {
            let request = Request::get("/v1").body(()).unwrap();
            let response = service.clone().oneshot(request).await.unwrap();
            assert!(response.into_body().collect().await.is_ok());
        }
        assert_eq!(breaker.destinations(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn keyed_breaker_keeps_a_circuit_for_each_key() {
        let layer = BreakerLayer::new(limits()).key_by(|_method, _uri, headers| {
            let tenant = headers.get("x-tenant")?.to_str().ok()?;
            Some(Destination::named(tenant))
        });
        let service = layer.layer(Mock::new(Leaf::Answers(503)));
        let of = |tenant: &str| {
            let request = Request::get("https://api.test/").header("x-tenant", tenant);
            service.clone().oneshot(request.body(()).unwrap())
        };
        for _ in 0..20 {
            of("a").await.unwrap();
        }
        assert!(of("a").await.is_err());
        assert!(of("b").await.is_ok());
        assert!(service.clone().oneshot(get()).await.is_ok());
        let state = |key: &str| layer.handle().state(&Destination::named(key));
        assert_eq!((state("a"), state("b")), (State::Open, State::Closed));
        assert_eq!(layer.handle().destinations().len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn hundred_thousand_transitions_leak_nothing() {
        let (_, service, breaker) = over(Leaf::Answers(200));
        assert!(ask(&service).await.is_ok());
        let watch = breaker.watch(&api());
        let memory = allocation_counter::measure(|| {
            for _ in 0..50_000 {
                breaker.isolate(&api());
                breaker.close(&api());
            }
        });
        assert_eq!((memory.bytes_current, watch.current()), (0, State::Closed));
    }

    #[tokio::test(start_paused = true)]
    async fn call_that_goes_well_allocates_nothing() {
        let answer = |_request: Request<()>| {
            let body = http_body_util::Empty::<Bytes>::new();
            std::future::ready(Ok::<_, Infallible>(Response::new(body)))
        };
        let mut service = BreakerLayer::new(limits()).layer(tower::service_fn(answer));
        let mut requests: Vec<_> = std::iter::repeat_with(get).take(100).collect();
        let mut once = |request| {
            let calling = std::pin::pin!(service.call(request));
            assert!(poll_once(calling).is_ready());
        };
        once(get());
        let memory = allocation_counter::measure(|| requests.drain(..).for_each(&mut once));
        assert_eq!(memory.count_total, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn service_that_was_polled_ready_is_the_one_that_is_called() {
        /// Counts what was made ready and not called.
        struct Reserved(i32);

        impl Service<Request<()>> for Reserved {
            type Response = Response<Script>;
            type Error = Infallible;
            type Future = std::future::Ready<Result<Response<Script>, Infallible>>;

            fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
                self.0 += 1;
                Poll::Ready(Ok(()))
            }

            fn call(&mut self, _request: Request<()>) -> Self::Future {
                self.0 -= 1;
                assert_eq!(self.0, 0, "called without being ready");
                let body = Script::of(Leaf::Answers(200));
                std::future::ready(Ok(Response::new(body)))
            }
        }

        let mut service = BreakerLayer::new(limits()).layer(Reserved(0));
        for _ in 0..3 {
            let start = Instant::now();
            assert!(service.ready().await.unwrap().call(get()).await.is_ok());
            assert_eq!(start.elapsed(), Duration::ZERO);
        }
    }
}
