//! An upload to an S3-compatible bucket whose connection breaks. It is reset while the body goes out, closed before the
//! response, or stalled in the middle of a part.
//!
//! ```text
//! cargo run -p sevenhops-sdks --example upload
//! ```
//!
//! object_store uploads through our stack. The object must arrive whole, and every failure must have its hop and its
//! effect. Only the stack retries a PUT. For comparison, the example also uploads with object_store's defaults.

mod bucket;
mod claims;
mod connector;
mod stack;

use std::error::Error as StdError;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt, PutPayload};
use sevenhops::{Timeline, sdk};
use tokio::time::{Instant, timeout};

use self::bucket::{Bucket, Fate};
use self::stack::Tape;

pub(crate) type Result<T, E = Box<dyn StdError + Send + Sync>> = std::result::Result<T, E>;

/// The result of an upload, and the requests that the bucket saw.
pub(crate) struct Upload {
    pub(crate) error: Option<object_store::Error>,
    pub(crate) took: Duration,
    pub(crate) timelines: Vec<Timeline>,
    pub(crate) puts: usize,
    /// Every object that was stored under the key.
    pub(crate) stored: Vec<Bytes>,
}

/// The uploads through our stack.
pub(crate) struct Ours {
    pub(crate) reset: Upload,
    pub(crate) lost: Upload,
    pub(crate) stalled: Upload,
    pub(crate) broken: Upload,
}

/// The upload through object_store's own client, with a part that stalls.
pub(crate) struct Plain {
    /// With its defaults. `None` if it was still waiting when we gave up.
    pub(crate) patient: Option<Upload>,
    pub(crate) patient_puts: usize,
    /// With a timeout.
    pub(crate) hasty: Upload,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    // This crate's client has a crypto provider of its own; a plain reqwest client needs one.
    let provider = rustls::crypto::ring::default_provider();
    provider.install_default().map_err(|_| "there is one")?;
    let object = Bytes::from(b"what must not be lost on its way. ".repeat(SIZE / 34));
    let (ours, plain) = tokio::join!(ours(&object), plain(&object));
    let (ours, plain) = (ours?, plain?);
    println!("through the stack:");
    for (what, upload) in [
        ("reset while the body goes out", &ours.reset),
        ("stored, and the response lost", &ours.lost),
        ("in three parts, one of which stalls", &ours.stalled),
        ("reset, reset, told to slow down", &ours.broken),
    ] {
        println!("\n== {what}: {:.1?}, {} PUTs", upload.took, upload.puts);
        let failed = |timeline: &&Timeline| timeline.attempt_count() > 1;
        for timeline in upload.timelines.iter().filter(failed) {
            println!("{timeline}");
        }
        if let Some(error) = &upload.error {
            println!("{error}");
        }
    }
    println!("\nobject_store as it comes, with the part that stalls:\n");
    match &plain.patient {
        Some(upload) => println!("its defaults: over after {:.1?}", upload.took),
        None => println!(
            "its defaults: not a word for {PATIENCE:?}, {} PUTs made",
            plain.patient_puts
        ),
    }
    if let Some(error) = &plain.hasty.error {
        println!("told to give up after {SOON:?}: {error}");
        println!("what can be found in that: {}", sdk::classify_error(error));
    }
    println!();
    let claims = claims::claims(&object, &ours, &plain);
    for (claim, holds) in &claims {
        println!("{}  {claim}", if *holds { "holds " } else { "FAILED" });
    }
    let all = claims.iter().all(|(_, holds)| *holds);
    Ok(ExitCode::from(u8::from(!all)))
}

async fn ours(object: &Bytes) -> Result<Ours> {
    let bucket = Bucket::start().await?;
    let tape = Tape::default();
    let store = stack::ours(&bucket, &tape)?;
    let under = async |key, fates: &[Fate], in_parts| {
        bucket.on_put(fates);
        let mut upload = upload(&store, key, object, in_parts).await;
        upload.timelines = tape.take();
        upload.seen_by(&bucket, key)
    };
    let never_well = [Fate::Reset, Fate::Reset, Fate::Declined].repeat(ENOUGH);
    Ok(Ours {
        reset: under("reset", &[Fate::Reset], false).await,
        lost: under("lost", &[Fate::Lost], false).await,
        stalled: under("stalled", &[Fate::Kept, Fate::Stalled], true).await,
        broken: under("broken", &never_well, false).await,
    })
}

async fn plain(object: &Bytes) -> Result<Plain> {
    let (patient, hasty) = (Bucket::start().await?, Bucket::start().await?);
    let (defaults, told) = (stack::plain(&patient)?, stack::plain_once(&hasty, SOON)?);
    for bucket in [&patient, &hasty] {
        bucket.on_put(&[Fate::Kept, Fate::Stalled]);
    }
    let (waited, gave_up) = tokio::join!(
        timeout(PATIENCE, upload(&defaults, "stalled", object, true)),
        upload(&told, "stalled", object, true),
    );
    Ok(Plain {
        patient: waited.ok(),
        patient_puts: patient.puts("stalled"),
        hasty: gave_up.seen_by(&hasty, "stalled"),
    })
}

async fn upload(store: &AmazonS3, key: &str, object: &Bytes, in_parts: bool) -> Upload {
    let begun = Instant::now();
    let at = Path::from(key);
    let ended = match in_parts {
        true => put_parts(store, &at, object).await,
        false => {
            let put = store.put(&at, PutPayload::from_bytes(object.clone()));
            put.await.map(drop)
        }
    };
    Upload {
        error: ended.err(),
        took: begun.elapsed(),
        timelines: Vec::new(),
        puts: 0,
        stored: Vec::new(),
    }
}

async fn put_parts(store: &AmazonS3, at: &Path, object: &Bytes) -> object_store::Result<()> {
    let mut upload = store.put_multipart(at).await?;
    let mut left = object.clone();
    while !left.is_empty() {
        let part = left.split_to(PART.min(left.len()));
        upload.put_part(PutPayload::from_bytes(part)).await?;
    }
    upload.complete().await.map(drop)
}

impl Upload {
    fn seen_by(mut self, bucket: &Bucket, key: &str) -> Self {
        self.puts = bucket.puts(key);
        self.stored = bucket.stored(key);
        self
    }
}

/// Two whole parts and a shorter one.
const SIZE: usize = 20 << 20;
/// More than the kernels on both sides buffer of an unread body; S3 requires 5 MiB at least.
const PART: usize = 8 << 20;
/// For object_store with its own defaults.
const PATIENCE: Duration = Duration::from_secs(5);
const SOON: Duration = Duration::from_secs(1);
/// More attempts than any client makes.
const ENOUGH: usize = 20;
