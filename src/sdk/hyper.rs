//! SDKs that take a tower service, or bring a client of hyper-util's own (octocrab, kube). (Feature `hyper`.)
//!
//! An SDK that takes a service takes the whole stack over [`Transport`](crate::Transport); that is the
//! better way. Where its own client must stay (its connector speaks over a unix socket, say, or through a
//! tunnel of its own), the pieces are here.
//!
//! # Example
//!
//! ```no_run
//! use std::time::Duration;
//! use bytes::Bytes;
//! use http_body_util::Full;
//! use hyper_rustls::HttpsConnectorBuilder;
//! use hyper_util::client::legacy::Client;
//! use hyper_util::rt::TokioExecutor;
//! use sevenhops::{StandardLayer, Transport, limit::Limits};
//! use tower::ServiceBuilder;
//! use tower_layer::Layer;
//!
//! # fn f() -> Result<(), sevenhops::SettingError> {
//! let deadline = Duration::from_secs(10);
//! let hops = Transport::builder(Limits::new(deadline)?).build_hyper()?;
//!
//! let https = HttpsConnectorBuilder::new()
//!     .with_tls_config(hops.tls())
//!     .https_or_http()
//!     .enable_all_versions()
//!     .wrap_connector(hops.http_connector());
//! let client = Client::builder(TokioExecutor::new()).build(hops.connector_layer().layer(https));
//!
//! let service = ServiceBuilder::new()
//!     .layer(StandardLayer::new(deadline)?)
//!     .layer(hops.layer())
//!     .service(client); // takes http::Request<Full<Bytes>>
//! # fn takes(_: impl tower::Service<http::Request<Full<Bytes>>>) {}
//! # takes(service);
//! # Ok(()) }
//! ```
//!
//! # What it protects from
//!
//! | piece | where it goes | without it |
//! |---|---|---|
//! | [`Hops::http_connector`] | into the TLS connector | the first address that is dark uses up the whole connect limit |
//! | [`Hops::resolver`] | is in it; or into an `HttpConnector` of your own | dns is part of the connect, and its TTL is not honored |
//! | [`Hops::tls`] | into the TLS connector | tls is part of the connect |
//! | [`Hops::connector_layer`] | around the whole connector | everything before the answer is one wait |
//! | [`Hops::layer`] | around the client | send is part of the wait, an effect cannot be proved, and a pooled connection outlives its DNS record |
//!
//! # What it reports
//!
//! All hops, as [`Transport`](crate::Transport) does. Errors are [`Error`](crate::Error)s.
//!
//! # Trade-offs
//!
//! A connection is poisoned, which is to say that nothing new is sent on it, as soon as a request finds its
//! address gone from DNS: of those connections only that have answered a request. It is closed when the pool
//! next looks at it, not at once. New connections go to the first address that accepts. Each address gets its share of the
//! connect limit; there is no choice by load or health, and a path that goes dark is not told from a silent service. `Transport` does all of these.
//!
//! With a filter, what cannot be judged is refused: a scheme other than http and https, and a connection whose
//! address came neither from the URL nor from [`Hops::resolver`] (a unix socket, a tunnel, another resolver).
//! If the connector leads to a proxy that filters, say so:
//! [`proxy_filters`](crate::TransportBuilder::proxy_filters). [`Hops::layer`] writes `http://0x7f.1/` as the
//! address that it means; the connector layer alone refuses it.
//!
//! # How people get it wrong
//!
//! With the layers in the wrong order: a layer over the client that follows redirects or repeats, below
//! [`StandardLayer`](crate::StandardLayer), makes requests that nobody counts.

pub use crate::transport::body::RequestBody;
pub use crate::transport::foreign::{
    Arriving, Connector, ConnectorLayer, Hops, Names, PoolLayer, Pooled,
};
