//! The retry in its place in the stack, over a service that is not ours, on a clock that stands
//! still.

#[cfg(test)]
mod mock;

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::num::NonZeroU8;
    use std::time::Duration;

    use http::{Method, StatusCode};
    use http_body_util::BodyExt;
    use sevenhops::guard::retry::{Backoff, Budget, Jitter, Settings};
    use sevenhops::hop::{Class, NotRepeated, What};
    use sevenhops::limit::Limit;
    use sevenhops::{Effect, Error, Hop, Options, RetryLayer, StandardLayer, StandardService};
    use tokio::time::Instant;
    use tower::{Layer, ServiceExt};

    use super::mock::{Mock, Step, request, saying, status, with};

    const MS: fn(u64) -> Duration = Duration::from_millis;
    const SECS: fn(u64) -> Duration = Duration::from_secs;

    /// Waits that can be foreseen: 100 ms, 200 ms, 400 ms.
    fn steady() -> Settings {
        Settings::new().backoff(Backoff::new().jitter(Jitter::None))
    }

    fn stack(retry: Settings, mock: &Mock) -> StandardService<Mock> {
        let settings = sevenhops::Settings::new(SECS(10)).retry(retry);
        StandardLayer::with(&settings).unwrap().layer(mock.clone())
    }

    fn optional(
        method: Method,
        options: Options,
    ) -> http::Request<http_body_util::Full<bytes::Bytes>> {
        let mut request = request(method);
        request.extensions_mut().insert(options);
        request
    }

    #[tokio::test(start_paused = true)]
    async fn i1_get_is_repeated_until_it_succeeds() {
        let mock = Mock::new([status(500), Step::Fail(ErrorKind::ConnectionReset)]);
        let response = stack(steady(), &mock)
            .oneshot(request(Method::GET))
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(mock.waits(), [MS(100), MS(200)]);
        let timeline = response.into_body().timeline().clone();
        let waits: Vec<_> = timeline.notes().into_iter().map(|note| note.what).collect();
        assert_eq!(
            waits,
            [MS(100), MS(200)].map(|wait| What::Waited { wait, asked: false })
        );
        assert_eq!(
            (timeline.attempt_count(), timeline.not_repeated()),
            (3, None)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn statuses_that_pass_are_repeated_and_others_are_not() {
        for code in [408, 425, 429, 500, 502, 503, 504] {
            let mock = Mock::new([status(code)]);
            let answer = stack(steady(), &mock).oneshot(request(Method::GET)).await;
            assert_eq!(
                (answer.unwrap().status().as_u16(), mock.count()),
                (200, 2),
                "{code}"
            );
        }
        for code in [400, 401, 403, 404, 409, 422, 501, 505] {
            let mock = Mock::new([status(code)]);
            let answer = stack(steady(), &mock)
                .oneshot(request(Method::GET))
                .await
                .unwrap();
            assert_eq!((answer.status().as_u16(), mock.count()), (code, 1));
            let reason = answer.into_body().timeline().not_repeated();
            assert_eq!(reason, Some(NotRepeated::Lasting), "{code}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn i6b_unvouched_post_whose_answer_was_lost_is_sent_once_and_says_why() {
        let mock = Mock::new([Step::Fail(ErrorKind::ConnectionReset)]);
        let error = stack(steady(), &mock)
            .oneshot(request(Method::POST))
            .await
            .unwrap_err();
        assert_eq!((mock.count(), error.effect()), (1, Effect::Possible));
        assert!(
            error.to_string().ends_with(
                "1 attempt, effect possible; not repeated: POST, effect possible, and the \
                 destination is not known to honour idempotency keys"
            ),
            "{error}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn unkeyed_post_is_repeated_on_425_and_429_only() {
        for code in [408, 425, 429, 500, 502, 503, 504] {
            let mock = Mock::new([status(code)]);
            let options = Options::new().no_idempotency_key();
            let post = optional(Method::POST, options);
            stack(steady(), &mock).oneshot(post).await.unwrap();
            let expected = if matches!(code, 425 | 429) { 2 } else { 1 };
            assert_eq!(mock.count(), expected, "{code}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn status_429_without_a_hint_waits_from_a_second_on() {
        let mock = Mock::new([status(429), status(429)]);
        stack(steady(), &mock)
            .oneshot(request(Method::GET))
            .await
            .unwrap();
        assert_eq!(mock.waits(), [SECS(1), SECS(2)]);
    }

    #[tokio::test(start_paused = true)]
    async fn hint_is_never_undercut_and_hardly_exceeded() {
        for code in [429, 503, 500] {
            let mock = Mock::new([with(code, "retry-after", "2")]);
            let response = stack(steady(), &mock)
                .oneshot(request(Method::GET))
                .await
                .unwrap();
            let waited = mock.waits()[0];
            assert!((SECS(2)..=MS(2_201)).contains(&waited), "{waited:?}");
            let notes = response.into_body().timeline().notes();
            assert!(matches!(notes[0].what, What::Waited { asked: true, .. }));
        }
        let mock = Mock::new([with(503, "retry-after", "0")]);
        stack(steady(), &mock)
            .oneshot(request(Method::GET))
            .await
            .unwrap();
        assert!(mock.waits()[0] >= MS(100), "not below our own back-off");
        let mock = Mock::new([with(429, "ratelimit", r#""default";r=0;t=3"#)]);
        stack(steady(), &mock)
            .oneshot(request(Method::GET))
            .await
            .unwrap();
        assert!(mock.waits()[0] >= SECS(3));
    }

    #[tokio::test(start_paused = true)]
    async fn hint_that_fits_is_never_refused_by_luck() {
        for _ in 0..50 {
            let mock = Mock::new([with(503, "retry-after", "1")]);
            let short = Options::new().deadline(Limit::from_millis(1_050));
            let get = optional(Method::GET, short);
            stack(steady(), &mock).oneshot(get).await.unwrap();
            assert_eq!(mock.count(), 2);
            assert!((SECS(1)..MS(1_050)).contains(&mock.waits()[0]));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn f28_hint_that_does_not_fit_is_the_answer_at_once() {
        for hint in ["11", "9223372036854775807"] {
            let start = Instant::now();
            let answer = Step::Answer(
                503,
                vec![("retry-after", hint.to_owned())],
                "come back later".into(),
            );
            let mock = Mock::new([answer]);
            let response = stack(steady(), &mock)
                .oneshot(request(Method::GET))
                .await
                .unwrap();
            assert_eq!((start.elapsed(), mock.count()), (Duration::ZERO, 1));
            assert_eq!(response.headers()["retry-after"], hint);
            let timeline = response.body().timeline().clone();
            assert!(matches!(
                timeline.not_repeated(),
                Some(NotRepeated::NoTime { .. })
            ));
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, "come back later");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn t2_deadline_includes_back_off() {
        // 2.7 s of 3 s are gone when the first attempt fails: 0.3 s are left for everything else.
        let limits = sevenhops::limit::Settings::new().attempt(SECS(3));
        for (base, sent) in [(MS(299), 2), (MS(300), 1)] {
            let retry = Settings::new().backoff(Backoff::new().jitter(Jitter::None).base(base));
            let settings = sevenhops::Settings::new(SECS(3))
                .limits(limits)
                .retry(retry);
            let mock = Mock::new([Step::FailAfter(MS(2_700)), Step::Hang]);
            let start = Instant::now();
            let service = StandardLayer::with(&settings).unwrap().layer(mock.clone());
            let error = service.oneshot(request(Method::GET)).await.unwrap_err();
            assert_eq!(mock.count(), sent);
            assert!(start.elapsed() <= SECS(3));
            let reason = error.not_repeated();
            match sent {
                1 => assert!(
                    matches!(reason, Some(NotRepeated::NoTime { .. })),
                    "{error}"
                ),
                _ => assert!(error.is_timeout(), "{error}"),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn last_real_answer_wins_when_attempts_are_spent() {
        let mock = Mock::new([
            saying(503, "first"),
            Step::Fail(ErrorKind::ConnectionReset),
            saying(500, "third"),
        ]);
        let response = stack(steady(), &mock)
            .oneshot(request(Method::GET))
            .await
            .unwrap();
        assert_eq!(response.status(), 500);
        let timeline = response.body().timeline().clone();
        let spent = NotRepeated::AttemptsSpent { made: 3 };
        assert_eq!(timeline.not_repeated(), Some(spent));
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "third");
        let shown = timeline.to_string();
        assert!(shown.contains("waited 100.0 ms") && shown.contains("all 3 attempts are spent"));
    }

    #[tokio::test(start_paused = true)]
    async fn f27_empty_budget_returns_the_last_real_answer() {
        let mock = Mock::new([saying(503, "down")]);
        let nothing = Budget::new().ratio(0.0).at_least_per_second(0);
        let service = stack(steady().budget(nothing), &mock);
        let response = service.oneshot(request(Method::GET)).await.unwrap();
        assert_eq!((response.status().as_u16(), mock.count()), (503, 1));
        let reason = response.body().timeline().not_repeated();
        assert_eq!(reason, Some(NotRepeated::BudgetEmpty));
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "down");
    }

    #[tokio::test(start_paused = true)]
    async fn budget_is_shared_by_clones_and_kept_for_each_destination() {
        let mock = Mock::new((0..100).map(|_| status(503)));
        let two = Budget::new()
            .ratio(0.0)
            .at_least_per_second(2)
            .over(SECS(1));
        let service = stack(steady().attempts(2).budget(two), &mock);
        for _ in 0..3 {
            service.clone().oneshot(request(Method::GET)).await.unwrap();
        }
        assert_eq!(mock.count(), 3 + 2);
        let mut other = request(Method::GET);
        *other.uri_mut() = "https://other.test/".parse().unwrap();
        service.clone().oneshot(other).await.unwrap();
        assert_eq!(mock.count(), 5 + 2);
    }

    #[tokio::test(start_paused = true)]
    async fn refused_call_pays_nothing_into_the_budget() {
        let one_each = Budget::new().ratio(1.0).at_least_per_second(0);
        let settings = sevenhops::Settings::new(SECS(10)).retry(steady().budget(one_each));
        let layer = StandardLayer::with(&settings).unwrap();
        let (breaker, api) = (layer.breaker(), "https://api.test".parse().unwrap());
        let mock = Mock::new((0..9).map(|_| status(503)));
        let service = layer.layer(mock.clone());
        breaker.isolate(&api);
        for _ in 0..5 {
            assert!(service.clone().oneshot(request(Method::GET)).await.is_err());
        }
        breaker.close(&api);
        service.oneshot(request(Method::GET)).await.unwrap();
        assert_eq!(mock.count(), 2, "its own token, and no other");
    }

    #[tokio::test(start_paused = true)]
    async fn one_request_may_want_it_otherwise() {
        let off = Options::new().no_retry();
        let more = Options::new().attempts(NonZeroU8::new(5).unwrap());
        let only = Options::new().retry_statuses([StatusCode::NOT_FOUND]);
        for (options, code, sent) in [
            (off, 503, 1),
            (more, 503, 5),
            (only.clone(), 503, 1),
            (only, 404, 3),
        ] {
            let mock = Mock::new((0..9).map(|_| status(code)));
            let get = optional(Method::GET, options.clone());
            stack(steady(), &mock).oneshot(get).await.unwrap();
            assert_eq!(mock.count(), sent, "{options:?} {code}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn servers_word_overrides_the_status_either_way() {
        let name = http::HeaderName::from_static("stripe-should-retry");
        for (code, word, sent) in [(503, "false", 1), (400, "true", 2), (400, "maybe", 1)] {
            let mock = Mock::new([with(code, "stripe-should-retry", word)]);
            let retry = steady().should_retry_header(name.clone());
            stack(retry, &mock)
                .oneshot(request(Method::GET))
                .await
                .unwrap();
            assert_eq!(mock.count(), sent, "{code} {word}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn users_classifier_is_asked_first() {
        let layer = StandardLayer::with(&sevenhops::Settings::new(SECS(10)).retry(steady()));
        let layer = layer.unwrap().classify(|failure| {
            let found = failure.headers()?.get("x-passing")?;
            let passing = found == "yes" && failure.method() == Method::GET;
            Some(if passing {
                Class::Passing
            } else {
                Class::Lasting
            })
        });
        for (code, word, sent) in [(404, "yes", 2), (503, "no", 1)] {
            let mock = Mock::new([with(code, "x-passing", word)]);
            let service = layer.layer(mock.clone());
            service.oneshot(request(Method::GET)).await.unwrap();
            assert_eq!(mock.count(), sent, "{code}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn another_host_than_the_policy_was_made_for_is_not_repeated_even_once() {
        let mock = Mock::new([status(503), status(503)]);
        let only = steady().only("https://api.test".parse().unwrap());
        let service = stack(only, &mock);
        let mut other = request(Method::GET);
        *other.uri_mut() = "https://other.test/".parse().unwrap();
        let response = service.clone().oneshot(other).await.unwrap();
        assert_eq!((response.status().as_u16(), mock.count()), (503, 1));
        let reason = response.into_body().timeline().not_repeated();
        assert_eq!(reason, Some(NotRepeated::OtherDestination));
        let response = service.oneshot(request(Method::GET)).await.unwrap();
        assert_eq!((response.status().as_u16(), mock.count()), (200, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn two_stacks_of_three_attempts_make_three() {
        let mock = Mock::new((0..9).map(|_| status(503)));
        let inner = stack(steady(), &mock);
        let settings = sevenhops::Settings::new(SECS(10)).retry(steady());
        let outer = StandardLayer::with(&settings).unwrap().layer(inner);
        let response = outer.oneshot(request(Method::GET)).await.unwrap();
        assert_eq!((response.status().as_u16(), mock.count()), (503, 3));
        // Over again: the right to repeat is given back when a call ends.
        let outer = RetryLayer::new(steady()).unwrap();
        let inner = RetryLayer::new(steady()).unwrap();
        let mock = Mock::new((0..9).map(|_| status(503)));
        let service = outer.layer(inner.layer(mock.clone()));
        service.oneshot(request(Method::GET)).await.unwrap();
        assert_eq!(mock.count(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn t11_attempt_and_time_left_travel_to_the_next_process_where_switched_on() {
        let mock = Mock::new([Step::FailAfter(SECS(1)), status(503)]);
        let settings = sevenhops::Settings::new(SECS(10)).retry(steady());
        let layer = StandardLayer::with(&settings.clone().propagating(true)).unwrap();
        layer
            .layer(mock.clone())
            .oneshot(request(Method::GET))
            .await
            .unwrap();
        let asked = mock.asked();
        let sent = |name| {
            asked
                .iter()
                .map(move |asked| asked.header(name).unwrap().to_owned())
        };
        let attempts: Vec<_> = sent("sevenhops-attempt").collect();
        assert_eq!(attempts, ["1;max=3", "2;max=3", "3;max=3"]);
        let left: Vec<_> = sent("sevenhops-timeout-ms").collect();
        assert_eq!(left, ["10000", "8900", "8700"]);

        // The next process repeats nothing, and gives up when its caller does.
        let there = Mock::new((0..9).map(|_| Step::Hang));
        let inherited = Options::new().inherit(&asked[1].head.headers);
        let (start, get) = (Instant::now(), optional(Method::GET, inherited));
        let layer = StandardLayer::with(&settings).unwrap();
        let error = layer.layer(there.clone()).oneshot(get).await.unwrap_err();
        assert_eq!(error.not_repeated(), Some(NotRepeated::CallerRepeats));
        assert_eq!((there.count(), start.elapsed()), (1, SECS(5)));

        assert!(
            there.asked()[0].header("sevenhops-attempt").is_none(),
            "off by default"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn i17_repeat_is_identical_in_what_matters() {
        let mock = Mock::new([status(503), status(503)]);
        let options = Options::new().honours_keys(true);
        let post = optional(Method::POST, options);
        stack(steady(), &mock).oneshot(post).await.unwrap();
        let asked = mock.asked();
        assert_eq!(asked.len(), 3);
        for again in &asked[1..] {
            assert_eq!(again.head.method, asked[0].head.method);
            assert_eq!(again.head.uri, asked[0].head.uri);
            assert_eq!(again.head.headers, asked[0].head.headers);
            assert_eq!(again.body, asked[0].body);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn two_calls_never_share_a_sequence_of_waits() {
        let mut seen = std::collections::HashSet::new();
        for _ in 0..200 {
            let mock = Mock::new([status(503), status(503)]);
            stack(Settings::new(), &mock)
                .oneshot(request(Method::GET))
                .await
                .unwrap();
            seen.insert(mock.waits());
        }
        // Paused time moves in whole milliseconds: 100 × 200 pairs.
        assert!(seen.len() > 180, "{} of 200 differ", seen.len());
    }

    #[tokio::test(start_paused = true)]
    async fn t8_cancelled_wait_sends_nothing_more_and_is_no_failure() {
        let mock = Mock::new([status(503)]);
        let service = stack(steady(), &mock);
        let calling = tokio::time::timeout(MS(50), service.oneshot(request(Method::GET)));
        assert!(calling.await.is_err());
        tokio::time::sleep(SECS(10)).await;
        assert_eq!(mock.count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn cancelled_wait_gives_back_what_the_budget_paid() {
        let mock = Mock::new([status(503), status(503)]);
        let one = Budget::new()
            .ratio(0.0)
            .at_least_per_second(1)
            .over(SECS(1));
        let service = stack(steady().budget(one), &mock);
        let calling = service.clone().oneshot(request(Method::GET));
        assert!(tokio::time::timeout(MS(50), calling).await.is_err());
        let response = service.oneshot(request(Method::GET)).await.unwrap();
        assert_eq!((response.status().as_u16(), mock.count()), (200, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn repeat_that_was_begun_is_paid_for_though_its_caller_goes_away() {
        let mock = Mock::new([status(503), Step::Hang, status(503)]);
        let one = Budget::new()
            .ratio(0.0)
            .at_least_per_second(1)
            .over(SECS(1));
        let service = stack(steady().budget(one), &mock);
        let calling = service.clone().oneshot(request(Method::GET));
        assert!(tokio::time::timeout(MS(150), calling).await.is_err());
        let response = service.oneshot(request(Method::GET)).await.unwrap();
        assert_eq!((response.status().as_u16(), mock.count()), (503, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn stack_around_that_makes_one_attempt_leaves_the_repeating_to_the_one_inside() {
        let mock = Mock::new((0..9).map(|_| status(503)));
        let once = sevenhops::Settings::new(SECS(10)).retry(steady().attempts(1));
        let outer = StandardLayer::with(&once).unwrap();
        let service = outer.layer(stack(steady(), &mock));
        service.oneshot(request(Method::GET)).await.unwrap();
        assert_eq!(mock.count(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn error_of_an_earlier_attempt_raises_the_effect_of_a_status() {
        // 400 alone says that nothing happened; after an answer that was lost it may have.
        let mock = Mock::new([Step::Fail(ErrorKind::ConnectionReset), status(400)]);
        let response = stack(steady(), &mock)
            .oneshot(request(Method::GET))
            .await
            .unwrap();
        assert_eq!(response.into_body().timeline().effect(), Effect::Possible);
    }

    #[tokio::test(start_paused = true)]
    async fn each_repeat_has_its_own_attempt_limit() {
        let mock = Mock::new([Step::Hang, Step::Hang]);
        let short = optional(Method::GET, Options::new().deadline(Limit::from_secs(4)));
        let start = Instant::now();
        let error: Error = stack(steady(), &mock).oneshot(short).await.unwrap_err();
        // 2 s, 100 ms, and what is left of the deadline.
        assert_eq!((start.elapsed(), mock.count()), (SECS(4), 2));
        assert_eq!(error.expired(), Some(sevenhops::limit::Waited::Deadline));
        assert_eq!(error.hop(), Some(Hop::Server));
    }
}
