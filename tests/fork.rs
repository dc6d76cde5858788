//! A process makes a call, then forks workers: their keys and waits must differ. The test runs without the test
//! harness, because a fork copies one thread only, and the harness has more threads.

#[cfg(not(unix))]
fn main() {}

#[cfg(unix)]
fn main() {
    forked::workers_that_are_forked_make_keys_and_waits_of_their_own();
    println!("workers_that_are_forked_make_keys_and_waits_of_their_own ... ok");
}

#[cfg(unix)]
#[expect(clippy::unwrap_used, reason = "a test, though without the harness")]
mod forked {
    use std::collections::HashSet;
    use std::io::{Read, Write, pipe};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use fork::{Fork, fork, waitpid};
    use http::{Request, Response};
    use sevenhops::IdempotencyConfig;
    use sevenhops::hop::TimelineEventKind;

    use sevenhops::sdk::operation::{OperationAttempt, OperationError};
    use sevenhops::{Config, Operation, StandardLayer};
    use tokio::runtime::Builder;
    use tower::{Layer, ServiceExt, service_fn};

    /// The key of an operation, the key of a request, and how long the request waited before its retry.
    type Made = (String, String, Duration);

    const WORKERS: usize = 3;

    pub(super) fn workers_that_are_forked_make_keys_and_waits_of_their_own() {
        // The state that is kept between calls exists before the fork.
        let mut all = vec![made()];
        for _ in 0..WORKERS {
            all.push(made_by_a_fork());
        }
        let differ = |of: fn(&Made) -> String| {
            let all: HashSet<_> = all.iter().map(of).collect();
            all.len() == WORKERS + 1
        };
        assert!(differ(|made| made.0.clone()), "keys of operations: {all:?}");
        assert!(differ(|made| made.1.clone()), "keys of requests: {all:?}");
        assert!(differ(|made| format!("{:?}", made.2)), "waits: {all:?}");
    }

    fn made_by_a_fork() -> Made {
        let (mut reader, mut writer) = pipe().unwrap();
        let Fork::Parent(worker) = fork().unwrap() else {
            let (operation, request, wait) = made();
            let text = format!("{operation} {request} {}", wait.as_nanos());
            writer.write_all(text.as_bytes()).unwrap();
            std::process::exit(0);
        };
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(waitpid(worker).unwrap(), 0);
        let mut words = text.split(' ').map(str::to_owned);
        let mut next = || words.next().unwrap();
        let (operation, request) = (next(), next());
        (
            operation,
            request,
            Duration::from_nanos(next().parse().unwrap()),
        )
    }

    fn made() -> Made {
        let mut clock = Builder::new_current_thread();
        let clock = clock.enable_time().start_paused(true).build().unwrap();
        clock.block_on(async {
            let (request, wait) = request().await;
            (operation().await, request, wait)
        })
    }

    async fn operation() -> String {
        let charge = Operation::new("queue.test", Duration::from_secs(10)).unwrap();
        let work = async |attempt: OperationAttempt| {
            Ok::<_, OperationError>(attempt.idempotency_key().as_str().to_owned())
        };
        charge.run(work).await.unwrap()
    }

    /// A request whose first response is lost.
    async fn request() -> (String, Duration) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let service = service_fn({
            let seen = Arc::clone(&seen);
            move |request: Request<String>| {
                let key = request.headers()["idempotency-key"].to_str().unwrap();
                let mut seen = seen.lock().unwrap();
                seen.push(key.to_owned());
                let lost = seen.len() == 1;
                async move {
                    match lost {
                        true => Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)),
                        false => Ok(Response::new(String::new())),
                    }
                }
            }
        });
        let honored = IdempotencyConfig::new().honored_by_all(true);
        let settings = Config::new(Duration::from_secs(10)).idempotency(honored);
        let service = StandardLayer::from_config(&settings)
            .unwrap()
            .layer(service);
        let charge = Request::post("https://api.test/v1/charges");
        let response = service.oneshot(charge.body(String::new()).unwrap()).await;
        let notes = response.unwrap().body().timeline().events();
        let TimelineEventKind::Waited { wait, .. } = notes[0].kind else {
            panic!("{notes:?}");
        };
        let seen = seen.lock().unwrap().clone();
        assert_eq!(seen.len(), 2);
        assert_eq!(seen[0], seen[1], "one key a call");
        (seen[0].clone(), wait)
    }
}
