//! Requests through a unix socket: there is no lookup and no address, and connections are pooled as usual.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::Version;
use sevenhops::hop::{Attempt, Stage};
use sevenhops::{Blame, Client, Error, Hop, Kind, TransportBuilder};
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::raw::{END_STREAM, Peer, head, read_head};

/// A socket in its own folder, which is removed at the end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let folder = format!("sevenhops-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.join("socket")
    }

    /// Serves each connection with `serve`, which gets the number of the connection.
    fn serve<F>(&self, serve: impl Fn(UnixStream, usize) -> F + Send + 'static)
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let listener = UnixListener::bind(self.path()).unwrap();
        tokio::spawn(async move {
            for number in 1.. {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, number));
            }
        });
    }

    fn client(
        &self,
        set: impl FnOnce(TransportBuilder) -> TransportBuilder + Send + 'static,
    ) -> Client {
        let path = self.path();
        let builder = Client::builder(Duration::from_secs(60));
        let builder = builder.transport(|transport| set(transport.unix_socket(path)));
        builder.build().unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn get(client: &Client, url: &str) -> (Attempt, String) {
    let response = client.get(url).send().await.unwrap();
    let timeline = response.timeline().cloned().unwrap();
    response.bytes().await.unwrap();
    let mut attempts = timeline.attempts();
    assert_eq!(attempts.len(), 1);
    (attempts.remove(0), timeline.to_string())
}

/// Responds to this number of requests on a connection, and then closes it.
async fn answer(
    mut stream: UnixStream,
    (number, requests): (usize, usize),
    told: UnboundedSender<String>,
) -> io::Result<()> {
    for _ in 0..requests {
        let head = read_head(&mut stream).await?;
        told.send(format!("{number}: {head}")).unwrap();
        let ok = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(ok).await?;
    }
    drop(stream);
    told.send(format!("{number}: closed")).unwrap();
    Ok(())
}

fn answering(place: &Place, requests: usize) -> UnboundedReceiver<String> {
    let (told, events) = unbounded_channel();
    place.serve(move |stream, number| answer(stream, (number, requests), told.clone()));
    events
}

fn stages(attempt: &Attempt) -> Vec<Stage> {
    attempt.stages().iter().map(|row| row.stage()).collect()
}

#[tokio::test]
async fn request_is_sent_through_the_socket_that_the_timeline_names() {
    use Stage::{Connect, Receive, Send, Wait};
    let place = Place::new("named");
    let mut events = answering(&place, 2);
    let client = place.client(|transport| transport);
    let path: Arc<Path> = place.path().into();
    for is_reused in [false, true] {
        let (attempt, drawn) = get(&client, "http://docker.test/v1/info").await;
        let head = events.recv().await.unwrap();
        assert!(head.starts_with("1: GET /v1/info HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("\r\nhost: docker.test\r\n"), "{head}");
        assert_eq!(attempt.unix_socket(), Some(&*path));
        assert_eq!((attempt.peer_addr(), attempt.local_addr()), (None, None));
        assert_eq!(attempt.is_reused(), is_reused);
        let stages = stages(&attempt);
        match is_reused {
            false => assert_eq!(stages, [Connect, Send, Wait, Receive]),
            true => assert_eq!(stages, [Send, Wait, Receive]),
        }
        assert!(drawn.contains(" · unix:/"), "{drawn}");
        assert!(drawn.lines().all(|line| line.chars().count() <= 80));
    }
}

#[tokio::test]
async fn connection_closed_while_idle_is_not_used_again() {
    let place = Place::new("closed");
    let mut events = answering(&place, 1);
    let client = place.client(|transport| transport);
    for number in [1, 2] {
        let (attempt, _) = get(&client, "http://docker.test/").await;
        assert!(!attempt.is_reused());
        let head = events.recv().await.unwrap();
        assert!(head.starts_with(&format!("{number}: GET / ")), "{head}");
        assert_eq!(events.recv().await.unwrap(), format!("{number}: closed"));
    }
}

#[tokio::test]
async fn http2_is_spoken_through_the_socket() {
    let place = Place::new("http2");
    place.serve(|stream, _| async move {
        let mut peer = Peer::accept(stream, 100).await?;
        loop {
            let stream = peer.request().await?;
            peer.write(&[head(stream, 200, None, END_STREAM)]).await?;
        }
    });
    let client = place.client(|transport| transport.http2_prior_knowledge(true));
    let (attempt, _) = get(&client, "http://docker.test/").await;
    assert_eq!(attempt.version(), Some(Version::HTTP_2));
}

/// The error of a GET, with the text of the operating system in its sentence.
async fn refused(place: &Place, text: &str) -> Error {
    let client = place.client(|transport| transport);
    let get = client
        .get("http://docker.test/")
        .options(|options| options.retry(false));
    let error = get.send().await.unwrap_err();
    assert_eq!(error.hop(), Some(Hop::Connect), "{error}");
    assert!(error.had_no_effect());
    assert!(error.to_string().contains(text), "{error}");
    let timeline = error.timeline().unwrap();
    let path: Arc<Path> = place.path().into();
    assert_eq!(timeline.attempts()[0].unix_socket(), Some(&*path));
    error
}

#[tokio::test]
async fn missing_socket_fails_at_connect_and_nothing_was_sent() {
    let place = Place::new("gone");
    let error = refused(&place, "No such file or directory").await;
    assert_eq!((error.kind(), error.blame()), (Kind::Other, Blame::Network));
}

#[tokio::test]
async fn socket_without_a_listener_refuses() {
    let place = Place::new("left");
    drop(UnixListener::bind(place.path()).unwrap());
    let error = refused(&place, "Connection refused").await;
    let told = (error.kind(), error.blame());
    assert_eq!(told, (Kind::Refused, Blame::Network), "{error}");
}

#[tokio::test]
async fn socket_that_the_process_may_not_open_is_blamed_on_the_client() {
    let place = Place::new("denied");
    let _events = answering(&place, 1);
    let mode = std::fs::Permissions::from_mode(0o000);
    std::fs::set_permissions(place.path(), mode).unwrap();
    if UnixStream::connect(place.path()).await.is_ok() {
        // The superuser may open every socket.
        return;
    }
    let error = refused(&place, "Permission denied").await;
    let told = (error.kind(), error.blame());
    assert_eq!(told, (Kind::LocalResources, Blame::Client), "{error}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn socket_with_a_full_backlog_fails_at_connect() {
    let place = Place::new("full");
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    let address = socket2::SockAddr::unix(place.path()).unwrap();
    socket.bind(&address).unwrap();
    socket.listen(0).unwrap();
    let _queued = UnixStream::connect(place.path()).await.unwrap();
    let error = refused(&place, "Resource temporarily unavailable").await;
    assert_eq!((error.kind(), error.blame()), (Kind::Other, Blame::Network));
}
