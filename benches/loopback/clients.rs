//! The clients, each set up as in its documentation, and the calls that they make.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Version};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use reqwest_middleware::ClientWithMiddleware;
use reqwest_retry::RetryTransientMiddleware;
use reqwest_retry::policies::ExponentialBackoff;
use reqwest_tracing::TracingMiddleware;

/// One call.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    method: Method,
    url: String,
    body: Bytes,
    version: Version,
}

impl Work {
    pub(crate) fn named(name: &str, address: &str) -> Self {
        let (work, version) = name.rsplit_once('-').expect("a version");
        let (method, path, bytes) = match work {
            "get" => (Method::GET, "/", 0),
            "post" => (Method::POST, "/", 1 << 10),
            "1MiB-down" => (Method::GET, "/large", 0),
            "1MiB-up" => (Method::POST, "/", 1 << 20),
            _ => panic!("there is no call {work}"),
        };
        Self {
            method,
            url: format!("http://{address}{path}"),
            body: Bytes::from(vec![b'1'; bytes]),
            version: match version {
                "h2" => Version::HTTP_2,
                _ => Version::HTTP_11,
            },
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Reqwest,
    Timeouts,
    HyperUtil,
    Middleware,
    Sevenhops,
}

impl Kind {
    /// The first is the one that the others are compared with.
    pub(crate) const ALL: [Self; 5] = [
        Self::Reqwest,
        Self::Timeouts,
        Self::HyperUtil,
        Self::Middleware,
        Self::Sevenhops,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Reqwest => "reqwest",
            Self::Timeouts => "reqwest+timeouts",
            Self::HyperUtil => "hyper-util",
            Self::Middleware => "reqwest+middleware+retry+tracing",
            Self::Sevenhops => "sevenhops",
        }
    }

    pub(crate) fn named(name: &str) -> Self {
        let mut all = Self::ALL.into_iter();
        all.find(|kind| kind.name() == name).expect("a client")
    }

    pub(crate) fn client(self, work: &Work) -> Client {
        let is_http2 = work.version == Version::HTTP_2;
        let reqwest = || {
            let builder = reqwest::Client::builder().no_proxy();
            match is_http2 {
                true => builder.http2_prior_knowledge(),
                false => builder,
            }
        };
        match self {
            Self::Reqwest => Client::Reqwest(reqwest().build().expect("a client")),
            Self::Timeouts => {
                let builder = reqwest()
                    .timeout(DEADLINE)
                    .connect_timeout(DEADLINE)
                    .read_timeout(DEADLINE);
                Client::Reqwest(builder.build().expect("a client"))
            }
            Self::HyperUtil => {
                let mut builder = legacy::Client::builder(TokioExecutor::new());
                Client::HyperUtil(Box::new(builder.http2_only(is_http2).build_http()))
            }
            Self::Middleware => {
                let policy = ExponentialBackoff::builder().build_with_max_retries(3);
                let built =
                    reqwest_middleware::ClientBuilder::new(reqwest().build().expect("a client"))
                        .with(TracingMiddleware::default())
                        .with(RetryTransientMiddleware::new_with_policy(policy));
                Client::Middleware(built.build())
            }
            Self::Sevenhops => {
                let builder = sevenhops::Client::builder(DEADLINE);
                let builder =
                    builder.transport(move |transport| transport.http2_prior_knowledge(is_http2));
                Client::Sevenhops(builder.build().expect("a client"))
            }
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Client {
    Reqwest(reqwest::Client),
    HyperUtil(Box<legacy::Client<HttpConnector, Full<Bytes>>>),
    Middleware(ClientWithMiddleware),
    Sevenhops(sevenhops::Client),
}

impl Client {
    /// Makes a call and reads the response to its end.
    pub(crate) async fn call(&self, work: &Work) {
        let Work {
            method, url, body, ..
        } = work;
        let read = match self {
            Self::Reqwest(client) => {
                let request = client.request(method.clone(), url).body(body.clone());
                let response = request.send().await.expect("a response");
                response.bytes().await.expect("a body").len()
            }
            Self::Middleware(client) => {
                let request = client.request(method.clone(), url).body(body.clone());
                let response = request.send().await.expect("a response");
                response.bytes().await.expect("a body").len()
            }
            Self::HyperUtil(client) => {
                let request = Request::builder().method(method.clone()).uri(url);
                let request = request.version(work.version).body(Full::new(body.clone()));
                let response = client.request(request.expect("a request")).await;
                let body = response.expect("a response").into_body().collect().await;
                body.expect("a body").to_bytes().len()
            }
            Self::Sevenhops(client) => {
                let request = client.request(method.clone(), url).body(body.clone());
                let response = request.send().await.expect("a response");
                response.bytes().await.expect("a body").len()
            }
        };
        assert!(read > 0, "an empty response");
    }
}

/// Makes this number of calls in a row, on one thread.
pub(crate) fn make_calls(address: &str, client: &str, work: &str, calls: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let work = Work::named(work, address);
        let client = Kind::named(client).client(&work);
        for _ in 0..calls {
            client.call(&work).await;
        }
    });
}

/// Below valgrind on a busy machine, a connect may take seconds.
const DEADLINE: Duration = Duration::from_secs(60);
