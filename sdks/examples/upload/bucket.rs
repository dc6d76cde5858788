//! A bucket with as much of S3 as an upload needs. It keeps books, and breaks connections as the example says.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::pending;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::Method;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};

/// The fate of a PUT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is stored, and gets its response.
    Kept,
    /// The connection is reset while the body is on its way.
    Reset,
    /// It is stored, and the connection is closed without a response.
    Lost,
    /// Its body is not read, and no response comes.
    Stalled,
    /// It is read to its end and declined: 503, slow down.
    Declined,
}

pub(crate) struct Bucket {
    address: SocketAddr,
    books: Arc<Mutex<Books>>,
}

#[derive(Default)]
struct Books {
    /// The fates of the next PUTs. All later ones are stored.
    fates: VecDeque<Fate>,
    /// The number of PUTs, by key.
    puts: HashMap<String, usize>,
    /// Every object that was stored under a key, the oldest first.
    objects: HashMap<String, Vec<Bytes>>,
    /// The parts of uploads that are not complete.
    uploads: HashMap<String, BTreeMap<u32, Bytes>>,
}

impl Bucket {
    pub(crate) async fn start() -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(RECEIVED)?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let listener = socket.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        let books = Arc::default();
        let shared = Arc::clone(&books);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Ok(Self { address, books })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sets the fates of the next PUTs.
    pub(crate) fn on_put(&self, fates: &[Fate]) {
        open(&self.books, |books| books.fates = fates.to_vec().into());
    }

    /// Returns how many PUTs came for a key.
    pub(crate) fn puts(&self, key: &str) -> usize {
        open(&self.books, |books| {
            books.puts.get(key).copied().unwrap_or_default()
        })
    }

    /// Every object that was stored under a key, the oldest first.
    pub(crate) fn stored(&self, key: &str) -> Vec<Bytes> {
        open(&self.books, |books| {
            books.objects.get(key).cloned().unwrap_or_default()
        })
    }
}

impl Books {
    fn fate(&mut self, request: &Request) -> Fate {
        if request.method != Method::PUT {
            return Fate::Kept;
        }
        *self.puts.entry(request.key.clone()).or_default() += 1;
        self.fates.pop_front().unwrap_or(Fate::Kept)
    }

    /// Does the work. Returns an ETag and the body of the response.
    fn work(&mut self, request: &Request, body: Bytes) -> (String, String) {
        let tag = tag(&body);
        let Request { method, key, .. } = request;
        let upload = request.parameter("uploadId").unwrap_or_default();
        if let Some(part) = request.parameter("partNumber") {
            let number = part.parse().unwrap_or_default();
            let parts = self.uploads.entry(upload.to_owned()).or_default();
            parts.insert(number, body);
            return (tag, String::new());
        }
        if *method == Method::PUT {
            self.store(key, body);
            return (tag, String::new());
        }
        if request.parameter("uploads").is_some() {
            let id = format!("upload-{}", self.uploads.len() + 1);
            let begun = format!("<UploadId>{id}</UploadId>");
            self.uploads.insert(id, BTreeMap::new());
            return (tag, wrapped("InitiateMultipartUploadResult", &begun));
        }
        let parts = self.uploads.remove(upload).unwrap_or_default();
        let whole = parts.into_values().collect::<Vec<_>>().concat();
        self.store(key, whole.into());
        let complete = format!("<ETag>{tag}</ETag>");
        (tag, wrapped("CompleteMultipartUploadResult", &complete))
    }

    fn store(&mut self, key: &str, object: Bytes) {
        self.objects.entry(key.to_owned()).or_default().push(object);
    }
}

struct Request {
    method: Method,
    /// Without the bucket.
    key: String,
    query: String,
    length: usize,
}

impl Request {
    fn parameter(&self, wanted: &str) -> Option<&str> {
        let mut pairs = self
            .query
            .split('&')
            .filter_map(|pair| pair.split_once('='));
        pairs.find_map(|(name, value)| (name == wanted).then_some(value))
    }
}

/// Takes one request after the other. Fails when the client has left.
async fn serve(stream: TcpStream, books: Arc<Mutex<Books>>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(request) = head(&mut stream).await? {
        let fate = open(&books, |books| books.fate(&request));
        match fate {
            Fate::Reset => {
                stream.read_exact(&mut vec![0; request.length / 8]).await?;
                return stream.get_ref().set_zero_linger();
            }
            Fate::Stalled => pending().await,
            Fate::Kept | Fate::Lost | Fate::Declined => {}
        }
        let mut body = vec![0; request.length];
        stream.read_exact(&mut body).await?;
        if fate == Fate::Declined {
            let why = wrapped("Error", "<Code>SlowDown</Code>");
            answer(&mut stream, "503 Slow Down", &why).await?;
            continue;
        }
        let (tag, text) = open(&books, |books| books.work(&request, body.into()));
        if fate == Fate::Lost {
            return Ok(());
        }
        answer(&mut stream, &format!("200 OK\r\netag: {tag}"), &text).await?;
    }
    Ok(())
}

/// Reads the head of the next request. Returns `None` if the client has left.
async fn head(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let mut lines = String::new();
    while !lines.ends_with("\r\n\r\n") {
        if stream.read_line(&mut lines).await? == 0 {
            return Ok(None);
        }
    }
    let mut words = lines.split(' ');
    let method = words.next().unwrap_or_default();
    let target = words.next().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut fields = lines.lines().filter_map(|line| line.split_once(": "));
    let length = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    Ok(Some(Request {
        method: method.parse().map_err(io::Error::other)?,
        key: path.rsplit('/').next().unwrap_or_default().to_owned(),
        query: query.to_owned(),
        length: length
            .map_or(Ok(0), |(_, length)| length.parse())
            .map_err(io::Error::other)?,
    }))
}

async fn answer(stream: &mut BufReader<TcpStream>, head: &str, body: &str) -> io::Result<()> {
    let length = body.len();
    let answer = format!("HTTP/1.1 {head}\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(answer.as_bytes()).await
}

fn wrapped(name: &str, inner: &str) -> String {
    format!("<{name}>{inner}</{name}>")
}

/// An ETag: it tells contents apart.
fn tag(content: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}

fn open<T>(books: &Mutex<Books>, with: impl FnOnce(&mut Books) -> T) -> T {
    with(&mut books.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Small, so that a body that is not read is noticed. Otherwise the kernel would take megabytes of it.
const RECEIVED: u32 = 256 << 10;
const BACKLOG: u32 = 64;
