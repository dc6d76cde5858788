//! A job is delivered again after its process was killed during the charge. The customer pays once.
//!
//! ```text
//! cargo run -p sevenhops-demos --bin redelivered               # the key is derived from the order
//! cargo run -p sevenhops-demos --bin redelivered -- --random   # the control: a fresh key for each delivery
//! ```
//!
//! The queue hands the job to a worker, a process of its own. The worker asks the payments service to charge the
//! customer, and the service does so. Before its response is out, the worker is killed with SIGKILL: no destructor
//! runs, and nothing is written down. The job was not acknowledged, so the queue hands it to another process, which
//! knows nothing of the first.
//!
//! A key that is derived from the order (UUID v5) is the same in both processes. So the second one gets the charge that
//! the first one made. A random key (UUID v4) differs, and the customer pays twice: `--random` shows it.

mod payments;

use std::error::Error as StdError;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, Stdio};
use std::time::{Duration, SystemTime};

use sevenhops::{Client, IdempotencyKey, Operation, OperationError};

use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::payments::Payments;

type Result<T> = std::result::Result<T, Box<dyn StdError + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        [] => queue("derived").await,
        ["--random"] => queue("random").await,
        ["--worker", keys, url, order, ordered_at] => {
            let ordered_at = Duration::from_secs(ordered_at.parse()?);
            work(keys, url, (order, SystemTime::UNIX_EPOCH + ordered_at)).await
        }
        _ => {
            eprintln!("usage: redelivered [--random]");
            Ok(ExitCode::from(2))
        }
    }
}

/// The worker. All that it knows is in the job.
async fn work(keys: &str, url: &str, (order, ordered_at): (&str, SystemTime)) -> Result<ExitCode> {
    let client = Client::builder(DEADLINE).build()?;
    let charge = Operation::new("payments", DEADLINE)?.name("charge");
    let charge = match keys {
        "derived" => {
            charge.idempotency_key(IdempotencyKey::derive("charge", order, ordered_at, DAY)?)
        }
        _ => charge.honors_idempotency_keys(true),
    };
    let charged = charge.run(|attempt| {
        let request = client.post(url).body(order.to_owned());
        let request =
            request.options(|options| options.idempotency_key(attempt.idempotency_key().clone()));
        async move {
            request
                .fetch_bytes()
                .await
                .map_err(OperationError::from_error)
        }
    });
    match charged.await {
        Ok(charge) => {
            println!("{}", String::from_utf8_lossy(&charge));
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            eprintln!("{error}");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// The queue: a job that is not acknowledged is delivered again.
async fn queue(keys: &str) -> Result<ExitCode> {
    println!("{ORDER} is to be charged once; keys: {keys}\n");
    let mut payments = Payments::start().await?;
    let job = job(keys, payments.url())?;

    let mut first = deliver(&job)?;
    let first_process = first.id();
    timeout(PATIENCE, payments.first_charge()).await?;
    first.kill().await?;
    let killed = first.wait().await?;
    println!("process {}: charged, then {killed}", shown(first_process));

    let second = deliver(&job)?;
    let second_process = second.id();
    let ended = timeout(PATIENCE, second.wait_with_output()).await??;
    let answer = String::from_utf8_lossy(&ended.stdout).trim().to_owned();
    let status = ended.status;
    println!("process {}: {answer}, {status}\n", shown(second_process));

    let (charges, replayed) = (payments.charges(ORDER), payments.replayed());
    let was_killed = killed.signal() == Some(SIGKILL);
    let claims = [
        ("the first process was killed", was_killed),
        ("the second is another", first_process != second_process),
        ("it got a charge", status.success() && !answer.is_empty()),
        match keys {
            "derived" => ("the customer paid once", (charges, replayed) == (1, 1)),
            _ => ("the customer paid twice", (charges, replayed) == (2, 0)),
        },
    ];
    for (claim, holds) in claims {
        println!("{}  {claim}", if holds { "holds " } else { "FAILED" });
    }
    let all = claims.iter().all(|(_, holds)| *holds);
    Ok(ExitCode::from(u8::from(!all)))
}

/// The job, as arguments of the worker's command line.
fn job(keys: &str, url: String) -> Result<[String; 5]> {
    #[expect(clippy::disallowed_methods, reason = "when it was ordered")]
    let ordered_at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    Ok([
        "--worker".to_owned(),
        keys.to_owned(),
        url,
        ORDER.to_owned(),
        ordered_at.as_secs().to_string(),
    ])
}

fn deliver(job: &[String]) -> Result<Child> {
    let mut worker = Command::new(std::env::current_exe()?);
    worker.args(job).stdout(Stdio::piped()).kill_on_drop(true);
    Ok(worker.spawn()?)
}

fn shown(process: Option<u32>) -> String {
    process.map_or_else(String::new, |id| id.to_string())
}

const ORDER: &str = "order-4711";
const DEADLINE: Duration = Duration::from_secs(10);
/// The time for which the service remembers a key.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Longer than a worker takes, on any machine.
const PATIENCE: Duration = Duration::from_secs(60);
const SIGKILL: i32 = 9;
