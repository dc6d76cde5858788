//! An operation around a real PostgreSQL.

#[cfg(test)]
mod servers;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Mutex;
    use std::time::Duration;

    use sevenhops::CircuitBreakerConfig;
    use sevenhops::RetryConfig;
    use sevenhops::hop::{NoRetryReason, Outcome};
    use sevenhops::policy::breaker::CircuitState;
    use sevenhops::policy::retry::Backoff;
    use sevenhops::sdk::operation::{OperationAttempt, OperationConfig, OperationError};
    use sevenhops::{Destination, Effect, Error, Kind, Operation, Policy};
    use tokio_postgres::types::{ToSql, Type};
    use tokio_postgres::{Client, Config, NoTls};

    use super::servers::{Losing, Server};

    const SECS: fn(u64) -> Duration = Duration::from_secs;
    const INSERT: &str = "INSERT INTO orders (key, amount) VALUES ($1, 100) ON CONFLICT DO NOTHING";

    /// Returns the outcome that a query's error shows.
    fn said(error: tokio_postgres::Error) -> OperationError {
        let code = error.code().map(|code| code.code().to_owned());
        match code.as_deref().map(|code| code.split_at(2)) {
            // The server shut down, or the connection broke. The progress of the query is unknown.
            None | Some(("57" | "08", _)) => OperationError::unknown(error),
            // Rolled back: a conflict with another transaction, or no room.
            Some(("40" | "53", _)) => OperationError::declined(error),
            // Read and declined.
            Some(_) => OperationError::declined(error).permanent(),
        }
    }

    async fn connect(port: u16) -> Result<Client, OperationError> {
        let mut config = Config::new();
        config.host(Ipv4Addr::LOCALHOST.to_string()).port(port);
        config.user("postgres").dbname("postgres");
        // No statement was sent.
        let connecting = config.connect(NoTls).await;
        let (client, connection) = connecting.map_err(OperationError::not_sent)?;
        tokio::spawn(connection);
        Ok(client)
    }

    async fn execute(client: &Client, sql: &str, key: &str) -> Result<u64, OperationError> {
        let values: [(&(dyn ToSql + Sync), Type); 1] = [(&key, Type::TEXT)];
        let done = client.execute_typed(sql, &values).await;
        done.map_err(said)
    }

    async fn count(port: u16) -> i64 {
        let client = connect(port).await.unwrap();
        let rows = client.query_one("SELECT count(*) FROM orders", &[]).await;
        rows.unwrap().get(0)
    }

    /// A server with an empty table of orders.
    async fn shop() -> Option<Server> {
        let server = Server::postgres()?;
        let client = connect(server.port()).await.unwrap();
        let table = "CREATE TABLE orders (key text UNIQUE, amount int NOT NULL)";
        client.batch_execute(table).await.unwrap();
        Some(server)
    }

    fn operation() -> Operation {
        let backoff = Backoff::new().cap(Duration::from_millis(200));
        let patient = RetryConfig::new()
            .attempts(100)
            .unsent_attempts(100)
            .backoff(backoff);
        let settings = OperationConfig::new(SECS(60)).retry(patient);
        Operation::from_config("postgres", settings).unwrap()
    }

    fn source(error: &Error) -> &tokio_postgres::Error {
        let source = std::error::Error::source(error).unwrap();
        source.downcast_ref().unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn server_that_is_down_is_unsent_and_the_breaker_opens() {
        let Some(mut server) = shop().await else {
            return;
        };
        server.kill();
        let down = CircuitBreakerConfig::new().consecutive_failures(3);
        let settings = OperationConfig::new(SECS(10)).circuit_breaker(down);
        let operation = Operation::from_config("postgres", settings).unwrap();
        let operation = operation.name("insert order");
        let work = async |attempt: OperationAttempt| {
            let client = connect(server.port()).await?;
            execute(&client, INSERT, attempt.idempotency_key().as_str()).await
        };
        let error = operation.run(work).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.effect()),
            (Kind::Refused, Effect::None)
        );
        assert_eq!((error.attempts(), error.hop()), (3, None));
        assert!(source(&error).to_string().contains("error connecting"));

        let refused = operation.run(work).await.unwrap_err();
        assert_eq!(refused.rejected_by(), Some(Policy::Breaker));
        assert_eq!((refused.attempts(), refused.effect()), (0, Effect::None));
        let postgres = Destination::named("postgres");
        assert_eq!(
            operation.breaker_handle().state(&postgres),
            CircuitState::Open
        );

        server.start();
        operation.breaker_handle().close(&postgres);
        let work = async |attempt: OperationAttempt| {
            let client = connect(server.port()).await?;
            execute(&client, INSERT, attempt.idempotency_key().as_str()).await
        };
        assert_eq!(operation.run(work).await.unwrap(), 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn server_that_is_killed_under_a_statement_leaves_a_maybe() {
        let Some(server) = shop().await else { return };
        let server = Mutex::new(server);
        let operation = operation().name("insert order");
        let run = operation.run(async |_| {
            let port = server.lock().unwrap().port();
            let client = connect(port).await?;
            client
                .batch_execute("BEGIN; LOCK TABLE orders")
                .await
                .map_err(said)?;
            let second = connect(port).await?;
            // It waits for the lock, so it is in progress when the server dies.
            let insert = execute(&second, INSERT, "order-4711");
            let kill = async {
                let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted";
                let is_waiting = async || {
                    let row = client.query_one(waiting, &[]).await.map_err(said)?;
                    Ok::<i64, OperationError>(row.get(0))
                };
                while is_waiting().await? == 0 {}
                server.lock().unwrap().kill();
                Ok::<(), OperationError>(())
            };
            let (inserted, killed) = tokio::join!(insert, kill);
            killed?;
            inserted
        });
        let error = run.await.unwrap_err();
        assert_eq!((error.effect(), error.attempts()), (Effect::Possible, 1));
        assert!(matches!(
            error.no_retry_reason(),
            Some(NoRetryReason::NotIdempotent {
                method: None,
                keyed: false,
                ..
            })
        ));
        assert!(source(&error).code().is_none(), "{error:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn idempotent_read_succeeds_when_the_server_is_back() {
        let Some(server) = shop().await else { return };
        let server = Mutex::new(server);
        let operation = operation().name("count orders").idempotent(true);
        let timelines = Mutex::new(Vec::new());
        let read = operation.run(async |attempt| {
            let port = server.lock().unwrap().port();
            if attempt.number() == 3 {
                server.lock().unwrap().start();
            }
            let client = connect(port).await?;
            let mut read = "SELECT count(*) FROM orders";
            if attempt.number() == 1 {
                server.lock().unwrap().kill();
                // Its last children may still respond to simple queries.
                read = "SELECT count(*) FROM orders, pg_sleep(3600)";
            }
            let read = client.query_one(read, &[]).await;
            let row = read.map_err(said)?;
            timelines.lock().unwrap().push(attempt.number());
            Ok(row.get::<_, i64>(0))
        });
        assert_eq!(read.await.unwrap(), 0);
        let succeeded = timelines.into_inner().unwrap();
        assert_eq!(succeeded, [3], "the first was lost, the second refused");
    }

    /// The insert is done, and its response is lost.
    async fn insert(operation: &Operation, server: &Server, path: &Losing) -> Result<u64, Error> {
        let work = async |attempt: OperationAttempt| {
            let client = connect(path.port()).await?;
            if attempt.number() == 1 {
                path.lose_next_answer();
            }
            let inserted = execute(&client, INSERT, attempt.idempotency_key().as_str()).await;
            assert_eq!(count(server.port()).await, 1, "{}", attempt.number());
            inserted
        };
        operation.run(work).await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn insert_whose_answer_was_lost_is_repeated_by_its_key_and_inserts_once() {
        let Some(server) = shop().await else { return };
        let path = Losing::to(server.port()).await;
        let operation = operation()
            .name("insert order")
            .honors_idempotency_keys(true);
        let inserted = insert(&operation, &server, &path).await.unwrap();
        assert_eq!(inserted, 0, "the retry finds its own row");
        assert_eq!(count(server.port()).await, 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn insert_whose_answer_was_lost_is_not_repeated_where_nobody_vouches_for_the_key() {
        let Some(server) = shop().await else { return };
        let path = Losing::to(server.port()).await;
        let operation = operation().name("insert order");
        let error = insert(&operation, &server, &path).await.unwrap_err();
        assert_eq!((error.effect(), error.attempts()), (Effect::Possible, 1));
        assert_eq!(count(server.port()).await, 1, "it was possible indeed");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn statement_that_is_declined_is_told_as_such_and_not_repeated() {
        let Some(server) = shop().await else { return };
        let operation = operation().name("insert order").idempotent(true);
        let run = operation.run(async |_| {
            let client = connect(server.port()).await?;
            execute(&client, "INSERT INTO orders (key) VALUES ($1)", "a").await
        });
        let error = run.await.unwrap_err();
        assert_eq!((error.effect(), error.attempts()), (Effect::Declined, 1));
        assert_eq!(error.no_retry_reason(), Some(NoRetryReason::Permanent));
        let violated = source(&error).code();
        let expected = tokio_postgres::error::SqlState::NOT_NULL_VIOLATION;
        assert_eq!(violated, Some(&expected));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn statement_that_hangs_ends_with_its_attempt() {
        let Some(server) = shop().await else { return };
        let settings = OperationConfig::new(SECS(1)).attempt(Duration::from_millis(300));
        let operation = Operation::from_config("postgres", settings).unwrap();
        let run = operation.run(async |_| {
            let client = connect(server.port()).await?;
            client
                .batch_execute("SELECT pg_sleep(3600)")
                .await
                .map_err(said)
        });
        let error = run.await.unwrap_err();
        assert_eq!(
            (error.kind(), error.effect()),
            (Kind::Timeout, Effect::Possible)
        );
        let attempts = error.timeline().unwrap().attempts();
        assert!(matches!(attempts[0].outcome(), Outcome::Failed { .. }));
    }
}
