use std::sync::Weak;

use http::{Request, StatusCode};

use super::*;
use crate::hop::{Diagnosis, Hop, Kind, Outcome};

/// Begins a call whose end is recorded.
fn begin(recorder: &FlightRecorder, uri: &str) -> Call {
    let mut request = Request::get(uri).body(()).unwrap();
    let call = Call::begin(&mut request, Duration::from_secs(10));
    let span = crate::telemetry::Span::none();
    call.listen(&span, Some(&recorder.observer()));
    call
}

async fn succeed(recorder: &FlightRecorder, uri: &str, took: u64) {
    let call = begin(recorder, uri);
    let open = call.open();
    tokio::time::advance(Duration::from_millis(took)).await;
    call.answer(Outcome::Responded(StatusCode::OK));
    drop(open);
}

fn fail(recorder: &FlightRecorder, uri: &str) {
    let call = begin(recorder, uri);
    let open = call.open();
    call.fail(Diagnosis::unsent(Hop::Connect, Kind::Refused));
    drop(open);
}

/// Returns the numbers of failed and of slowest calls, by destination.
fn kept(recorder: &FlightRecorder) -> Vec<(String, usize, usize)> {
    let all = recorder.destinations().into_iter();
    let kept = all.map(|calls| {
        let name = calls.destination().to_string();
        (name, calls.failed().len(), calls.slowest().len())
    });
    kept.collect()
}

#[tokio::test(start_paused = true)]
async fn failed_and_slow_calls_are_kept_by_destination() {
    let recorder = FlightRecorder::new();
    for took in [1, 2, 3, 4, 5, 1] {
        succeed(&recorder, "https://b.test/v1", took).await;
    }
    fail(&recorder, "https://a.test/v1");
    fail(&recorder, "https://B.test:443/v2");
    let expected = [("https://a.test", 1, 0), ("https://b.test", 1, 4)];
    assert_eq!(
        kept(&recorder),
        expected.map(|(name, a, b)| (name.to_owned(), a, b))
    );
    let slowest: Vec<_> = recorder.destinations()[1]
        .slowest()
        .iter()
        .map(Timeline::elapsed)
        .collect();
    assert_eq!(slowest, [5, 4, 3, 2].map(Duration::from_millis));
}

#[tokio::test(start_paused = true)]
async fn fast_call_that_does_not_fail_allocates_nothing_in_the_recorder() {
    let recorder = FlightRecorder::new();
    for _ in 0..4 {
        succeed(&recorder, "https://a.test/", 10).await;
    }
    let calls: Vec<_> = (0..100)
        .map(|_| begin(&recorder, "https://a.test/"))
        .collect();
    for call in &calls {
        call.answer(Outcome::Responded(StatusCode::OK));
        call.end(clock::now());
    }
    let memory = allocation_counter::measure(|| calls.iter().for_each(|call| recorder.end(call)));
    assert_eq!(memory.count_total, 0);
}

#[tokio::test(start_paused = true)]
async fn destinations_are_bounded_and_only_a_failure_removes_one() {
    let recorder = FlightRecorder::new();
    for number in 0..MOST_DESTINATIONS {
        fail(&recorder, &format!("https://{number}.test/"));
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    succeed(&recorder, "https://slow.test/", 1_000).await;
    let names = |recorder: &FlightRecorder| kept(recorder).into_iter().map(|(name, ..)| name);
    assert_eq!(names(&recorder).count(), MOST_DESTINATIONS);
    assert!(!names(&recorder).any(|name| name == "https://slow.test"));
    fail(&recorder, "https://new.test/");
    let left: Vec<_> = names(&recorder).collect();
    assert!(left.len() <= MOST_DESTINATIONS);
    assert!(left.contains(&"https://new.test".to_owned()));
    assert!(
        !left.contains(&"https://0.test".to_owned()),
        "the oldest goes"
    );
    assert!(left.contains(&"https://31.test".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn recorded_call_does_not_keep_its_observer() {
    let recorder = FlightRecorder::new();
    let registry = Arc::downgrade(&recorder.0);
    fail(&recorder, "https://a.test/");
    assert_eq!(
        Weak::strong_count(&registry),
        1,
        "no call holds the recorder"
    );
    drop(recorder);
    assert!(registry.upgrade().is_none());
}

#[tokio::test(start_paused = true)]
async fn memory_of_a_call_is_counted() {
    let uri = format!("https://a.test/{}", "x".repeat(1_000));
    let mut call = None;
    let memory = allocation_counter::measure(|| {
        let mut request = Request::get(&uri).body(()).unwrap();
        let begun = Call::begin(&mut request, Duration::from_secs(10));
        begun.led_to_endpoint(
            &format!("https://b.test/{}", "y".repeat(500))
                .parse()
                .unwrap(),
        );
        call = Some(begun);
    });
    let (held, counted) = (memory.bytes_current, call.unwrap().bytes());
    let counted = i64::try_from(counted).unwrap();
    // The rest is the rounding of capacities.
    assert!(
        (held - counted).abs() < held / 10,
        "{held} held, {counted} counted"
    );
}

#[tokio::test(start_paused = true)]
async fn recorded_call_began_when_it_was_recorded_and_not_when_it_is_read() {
    let recorder = FlightRecorder::new();
    let before = clock::wall();
    fail(&recorder, "https://a.test/");
    // Here the wall clock does not run, as if it had been set back meanwhile.
    tokio::time::advance(Duration::from_secs(3_600)).await;
    let calls = recorder.destinations();
    assert!(calls[0].failed()[0].started_at() >= before - Duration::from_secs(60));
}
