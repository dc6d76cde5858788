//! An operation around a real Redis, and a rate limit that two clients share over it.

#[cfg(test)]
mod servers;

#[cfg(test)]
#[path = "redis/shared_rate_limit.rs"]
mod shared_rate_limit;

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use redis::aio::MultiplexedConnection;
    use redis::{Client, RedisError, cmd};
    use sevenhops::CircuitBreakerConfig;
    use sevenhops::RetryConfig;
    use sevenhops::policy::breaker::CircuitState;
    use sevenhops::policy::idempotency::IdempotencyKey;
    use sevenhops::policy::retry::Backoff;
    use sevenhops::sdk::operation::{OperationAttempt, OperationConfig, OperationError};
    use sevenhops::{Destination, Effect, Error, Operation, Policy};

    use super::servers::{Losing, Server};

    const SECS: fn(u64) -> Duration = Duration::from_secs;

    /// Returns the outcome that a command's error shows.
    fn said(error: RedisError) -> OperationError {
        if error.is_connection_refusal() {
            OperationError::not_sent(error)
        } else if error.is_io_error() || error.is_timeout() || error.is_connection_dropped() {
            OperationError::unknown(error)
        } else {
            OperationError::declined(error).permanent()
        }
    }

    async fn connect(port: u16) -> Result<MultiplexedConnection, OperationError> {
        let client = Client::open(format!("redis://127.0.0.1:{port}/"));
        let connecting = client.map_err(OperationError::not_sent)?;
        // No command of ours was sent.
        let connection = connecting.get_multiplexed_async_connection().await;
        connection.map_err(OperationError::not_sent)
    }

    /// Reserves an order for a key. The first key keeps it. Returns whether this key has it.
    async fn reserve(port: u16, order: &str, key: &IdempotencyKey) -> Result<bool, OperationError> {
        let mut connection = connect(port).await?;
        reserve_by(&mut connection, order, key).await
    }

    async fn reserve_by(
        connection: &mut MultiplexedConnection,
        order: &str,
        key: &IdempotencyKey,
    ) -> Result<bool, OperationError> {
        let mut set = cmd("SET");
        set.arg(order).arg(key.as_str()).arg("NX").arg("GET");
        let before: Option<String> = set.query_async(connection).await.map_err(said)?;
        Ok(before.is_none_or(|before| before == key.as_str()))
    }

    fn operation() -> Operation {
        let backoff = Backoff::new().cap(Duration::from_millis(200));
        let patient = RetryConfig::new()
            .attempts(100)
            .unsent_attempts(100)
            .backoff(backoff);
        let settings = OperationConfig::new(SECS(60)).retry(patient);
        Operation::from_config("redis", settings).unwrap()
    }

    /// The reservation is made, and its response is lost.
    async fn reserve_and_lose(operation: &Operation, path: &Losing) -> Result<bool, Error> {
        let work = async |attempt: OperationAttempt| {
            let mut connection = connect(path.port()).await?;
            if attempt.number() == 1 {
                path.lose_next_answer();
            }
            reserve_by(&mut connection, "order-4711", attempt.idempotency_key()).await
        };
        operation.run(work).await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn reservation_whose_answer_was_lost_is_repeated_by_its_key_and_is_still_ours() {
        let Some(server) = Server::redis() else {
            return;
        };
        let path = Losing::to(server.port()).await;
        let operation = operation()
            .name("reserve order")
            .honors_idempotency_keys(true);
        assert!(reserve_and_lose(&operation, &path).await.unwrap());
        let other = IdempotencyKey::new("another-key").unwrap();
        let theirs = reserve(server.port(), "order-4711", &other).await.unwrap();
        assert!(!theirs, "another key comes too late");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn reservation_whose_answer_was_lost_is_a_maybe_and_not_repeated_unvouched() {
        let Some(server) = Server::redis() else {
            return;
        };
        let path = Losing::to(server.port()).await;
        let operation = operation().name("reserve order");
        let error = reserve_and_lose(&operation, &path).await.unwrap_err();
        assert_eq!((error.effect(), error.attempts()), (Effect::Possible, 1));
        let other = IdempotencyKey::new("another-key").unwrap();
        let theirs = reserve(server.port(), "order-4711", &other).await.unwrap();
        assert!(!theirs, "it was possible indeed");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn server_that_is_down_is_unsent_and_the_breaker_opens() {
        let Some(mut server) = Server::redis() else {
            return;
        };
        server.kill();
        let down = CircuitBreakerConfig::new().consecutive_failures(3);
        let settings = OperationConfig::new(SECS(10)).circuit_breaker(down);
        let operation = Operation::from_config("redis", settings).unwrap();
        let port = server.port();
        let work = async |attempt: OperationAttempt| {
            reserve(port, "order", attempt.idempotency_key()).await
        };
        let error = operation.run(work).await.unwrap_err();
        assert_eq!((error.effect(), error.attempts()), (Effect::None, 3));
        assert_eq!(error.hop(), None);
        let source = std::error::Error::source(&error).unwrap();
        let source = source.downcast_ref::<RedisError>().unwrap();
        assert!(source.is_connection_refusal());
        let refused = operation.run(work).await.unwrap_err();
        assert_eq!(refused.rejected_by(), Some(Policy::Breaker));
        let state = operation
            .breaker_handle()
            .state(&Destination::named("redis"));
        assert_eq!(state, CircuitState::Open);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn idempotent_read_succeeds_when_the_server_is_back_and_nothing_was_lost() {
        let Some(server) = Server::redis() else {
            return;
        };
        let key = IdempotencyKey::new("a-key").unwrap();
        reserve(server.port(), "order-4711", &key).await.unwrap();
        let server = Mutex::new(server);
        let operation = operation().name("who has it").idempotent(true);
        let succeeded = Mutex::new(0);
        let read = operation.run(async |attempt| {
            let port = server.lock().unwrap().port();
            if attempt.number() == 3 {
                server.lock().unwrap().start();
            }
            let mut connection = connect(port).await?;
            if attempt.number() == 1 {
                server.lock().unwrap().kill();
            }
            let mut get = cmd("GET");
            let read = get.arg("order-4711").query_async(&mut connection).await;
            let who: String = read.map_err(said)?;
            *succeeded.lock().unwrap() = attempt.number();
            Ok(who)
        });
        assert_eq!(read.await.unwrap(), "a-key");
        assert_eq!(succeeded.into_inner().unwrap(), 3);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn command_that_is_declined_is_not_repeated() {
        let Some(server) = Server::redis() else {
            return;
        };
        let operation = operation().idempotent(true);
        let run = operation.run(async |_| {
            let mut connection = connect(server.port()).await?;
            let unknown = cmd("NOSUCHCOMMAND").query_async(&mut connection).await;
            unknown.map_err(said)
        });
        let ended: Result<(), Error> = run.await;
        let error = ended.unwrap_err();
        assert_eq!((error.effect(), error.attempts()), (Effect::Declined, 1));
    }
}
