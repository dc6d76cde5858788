//! Clients that call a server over loopback, one call after the other on a kept connection.

use std::time::Duration;

use fetch::HttpClient;
use fetch::tokio::TokioDeps;

/// The first is the one that the others are compared with.
pub(crate) const CLIENTS: [&str; 4] = [
    "reqwest",
    "fetch, minimal pipeline",
    "fetch, standard pipeline",
    "sevenhops",
];

/// Makes this number of GETs over HTTP/1, on one thread.
pub(crate) fn make_calls(address: &str, client: &str, times: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    // reqwest is built without a crypto provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = format!("http://{address}/");
    runtime.expect("a runtime").block_on(async {
        let fetch = || HttpClient::builder_tokio(TokioDeps::default()).insecure_allow_http();
        match client {
            "reqwest" => {
                let client = reqwest::Client::builder().no_proxy().build();
                let client = client.expect("a client");
                for _ in 0..times {
                    let response = client.get(&url).send().await.expect("a response");
                    check(response.bytes().await.expect("a body").len());
                }
            }
            "fetch, minimal pipeline" => get(fetch().minimal_pipeline().build(), &url, times).await,
            // The default of the builder.
            "fetch, standard pipeline" => get(fetch().build(), &url, times).await,
            "sevenhops" => {
                let client = sevenhops::Client::builder(DEADLINE).build();
                let client = client.expect("a client");
                for _ in 0..times {
                    let response = client.get(&url).send().await.expect("a response");
                    check(response.bytes().await.expect("a body").len());
                }
            }
            _ => panic!("there is no client {client}"),
        }
    });
}

async fn get(client: HttpClient, url: &str, times: u64) {
    for _ in 0..times {
        let response = client.get(url).fetch_bytes().await.expect("a response");
        check(response.body().len());
    }
}

fn check(read: usize) {
    assert!(read > 0, "an empty response");
}

/// Below valgrind on a busy machine, a connect may take seconds.
const DEADLINE: Duration = Duration::from_secs(60);
