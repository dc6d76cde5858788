use bytes::Bytes;
use http::{Request, Response};

use super::*;
use crate::error::Error;
use crate::hop::{Blame, Diagnosis, Hop};

/// Diagnoses an error outside of any attempt.
fn told(error: &(dyn StdError + 'static)) -> Diagnosis {
    Diagnosis::foreign(error)
}

#[cfg(target_os = "linux")]
#[test]
fn what_the_operating_system_has_no_more_of_is_local_and_shown_in_its_words() {
    for (code, text) in [
        (1, "Operation not permitted (os error 1)"),
        (12, "Cannot allocate memory (os error 12)"),
        (19, "No such device (os error 19)"),
        (22, "Invalid argument (os error 22)"),
        (23, "Too many open files in system (os error 23)"),
        (24, "Too many open files (os error 24)"),
        (97, "Address family not supported by protocol (os error 97)"),
        (98, "Address already in use (os error 98)"),
        (99, "Cannot assign requested address (os error 99)"),
        (105, "No buffer space available (os error 105)"),
    ] {
        let lacking = || io::Error::from_raw_os_error(code);
        for error in [lacking(), io::Error::other(lacking())] {
            assert_eq!(told(&error).kind, Kind::LocalResources, "{error}");
            let error = Error::new(told(&error).or_at(Hop::Connect)).because(error);
            assert_eq!(error.blame(), Blame::Client);
            assert!(error.to_string().contains(text), "{error}");
        }
    }
}

#[cfg(all(unix, feature = "client"))]
#[test]
fn unix_socket_that_the_process_may_not_open_is_local_and_no_other_one() {
    use crate::hop::SocketFailed;

    // EACCES, then ENOENT, EAGAIN and ECONNREFUSED on Linux.
    let failed = |code| SocketFailed(io::Error::from_raw_os_error(code));
    let denied = failed(13);
    assert_eq!(told(&denied).kind, Kind::LocalResources, "{denied}");
    for code in [2, 11, 111] {
        let failed = failed(code);
        assert_eq!(local(&failed), None, "{failed}");
        let text = failed.to_string();
        let error = Error::new(told(&failed).or_at(Hop::Connect)).because(failed);
        assert!(error.to_string().contains(&text), "{error}");
    }
}

#[test]
fn what_the_network_or_the_server_did_is_not_local() {
    // EACCES, EPIPE, ECONNRESET, ETIMEDOUT, ECONNREFUSED, EHOSTUNREACH on Linux.
    for code in [13, 32, 104, 110, 111, 113] {
        let error = io::Error::from_raw_os_error(code);
        assert_eq!(local(&error), None, "{error}");
    }
    let invalid = io::Error::from(io::ErrorKind::InvalidInput);
    assert_eq!(told(&invalid).kind, Kind::ProtocolError);
}

#[test]
fn runtime_that_is_gone_is_local() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap()
    };
    let (gone, other) = (runtime(), runtime());
    let listener = gone.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
    drop(gone);
    let error = other.block_on(listener.unwrap().accept()).unwrap_err();
    assert_eq!(told(&error).kind, Kind::LocalResources, "{error}");
}

/// h2 counts the streams that it resets itself, here for a body that is longer than announced. Above its own limit it
/// closes the connection.
#[tokio::test]
async fn reset_limit_of_our_own_http2_is_local_and_not_the_servers_failure() {
    let (near, far) = tokio::io::duplex(1 << 16);
    tokio::spawn(async move {
        let mut connection = h2::server::handshake(far).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let head = Response::builder().header("content-length", 1);
            let mut body = respond
                .send_response(head.body(()).unwrap(), false)
                .unwrap();
            body.send_data(Bytes::from_static(b"longer"), true).unwrap();
        }
    });
    let mut builder = h2::client::Builder::new();
    builder.max_local_error_reset_streams(Some(0));
    let (send, connection) = builder.handshake::<_, Bytes>(near).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("https://api.test/").body(()).unwrap();
    let mut send = send.ready().await.unwrap();
    let (response, _) = send.send_request(request, true).unwrap();
    let ended = match response.await {
        Ok(response) => response.into_body().data().await.unwrap().unwrap_err(),
        Err(ended) => ended,
    };
    let diagnosis = told(&ended);
    assert_eq!(diagnosis.kind, Kind::LocalProtocol, "{ended:?}");
    let error = Error::new(diagnosis.or_at(Hop::Server)).because(ended);
    assert_eq!(error.blame(), Blame::Client);
    let said = error.to_string();
    assert!(said.contains("too_many_internal_resets"), "{said}");
}

/// The head is longer than hyper's limit.
#[tokio::test]
async fn head_above_our_own_limit_is_local() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let (near, mut far) = tokio::io::duplex(1 << 20);
    let io = hyper_util::rt::TokioIo::new(near);
    let (mut send, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let body = http_body_util::Empty::<Bytes>::new();
    let answering = async {
        far.read_u8().await.unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(1 << 19));
        far.write_all(head.as_bytes()).await.unwrap();
    };
    let sending = send.send_request(Request::get("/").body(body).unwrap());
    let (sent, ()) = tokio::join!(sending, answering);
    let error = sent.unwrap_err();
    assert_eq!(told(&error).kind, Kind::LocalProtocol, "{error:?}");
}

/// The extensions of the chunks are longer than hyper's limit.
#[tokio::test]
async fn chunk_extensions_above_our_own_limit_are_local() {
    use http_body_util::BodyExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let (near, mut far) = tokio::io::duplex(1 << 20);
    let io = hyper_util::rt::TokioIo::new(near);
    let (mut send, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let body = http_body_util::Empty::<Bytes>::new();
    let answering = async {
        far.read_u8().await.unwrap();
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let body = format!("1;{}\r\nx\r\n0\r\n\r\n", "x".repeat(1 << 15));
        far.write_all(format!("{head}{body}").as_bytes())
            .await
            .unwrap();
    };
    let sending = send.send_request(Request::get("/").body(body).unwrap());
    let (sent, ()) = tokio::join!(sending, answering);
    let error = sent.unwrap().collect().await.unwrap_err();
    assert_eq!(told(&error).kind, Kind::LocalProtocol, "{error:?}");
}
