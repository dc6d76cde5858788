//! An HTTP/1 and HTTP/2 server without TLS, in its own process.

use std::convert::Infallible;
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpListener;

/// The server's process. It is killed at the end.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts this program as a server.
    pub(crate) fn start() -> Self {
        let mut child = Command::new(env::current_exe().expect("this program"))
            .arg("server")
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let stdout = child.stdout.take().expect("its output");
        let mut line = String::new();
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("its address");
        let address = line.trim().parse().expect("an address");
        Self { child, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves until the process is killed. Prints the address.
pub(crate) fn serve(address: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let listener = TcpListener::bind(address).await.expect("a port");
        println!("{}", listener.local_addr().expect("an address"));
        std::io::stdout().flush().expect("a reader");
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                continue;
            };
            let _ = stream.set_nodelay(true);
            tokio::spawn(async move {
                let builder = Builder::new(TokioExecutor::new());
                let io = TokioIo::new(stream);
                let _ = builder.serve_connection(io, service_fn(answer)).await;
            });
        }
    });
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    static LARGE: [u8; 1 << 20] = [b'x'; 1 << 20];
    let is_large = request.uri().path() == "/large";
    let _ = request.into_body().collect().await;
    Ok(Response::new(Full::new(Bytes::from_static(
        match is_large {
            true => &LARGE,
            false => b"{\"ok\":true}",
        },
    ))))
}
