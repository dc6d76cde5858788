//! Retries work that is not HTTP: an operation with a deadline, a key, a budget and a breaker.
//!
//! ```text
//! cargo run --example operation
//! ```

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sevenhops::{Operation, OperationError};

/// Stands for a database that is down at first.
async fn insert(order: &str, key: &str) -> Result<(), std::io::Error> {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    match CALLS.fetch_add(1, Ordering::Relaxed) {
        0 => Err(std::io::ErrorKind::ConnectionRefused.into()),
        _ => {
            println!("inserted {order} with the key {}...", &key[..8]);
            Ok(())
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), sevenhops::Error> {
    // The key is a unique column: the database honors it.
    let orders = Operation::new("orders-db", Duration::from_secs(5));
    let orders = orders
        .expect("5 s is a valid deadline")
        .honors_idempotency_keys(true);
    orders
        .run(async |attempt| {
            let inserted = insert("order-4711", attempt.idempotency_key().as_str()).await;
            inserted.map_err(|error| match error.kind() {
                // The closure knows that nothing was sent.
                std::io::ErrorKind::ConnectionRefused => OperationError::not_sent(error),
                _ => OperationError::unknown(error),
            })
        })
        .await
}
