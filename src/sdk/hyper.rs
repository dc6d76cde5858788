//! SDKs that accept a tower service, or need a client of hyper-util (octocrab, kube). (Feature `hyper-util`.)
//!
//! If an SDK accepts a service, give it the whole stack over [`Transport`](crate::Transport). If its own client must
//! stay (because its connector uses a unix socket or its own tunnel, for example), use the pieces of this module.
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
//! use sevenhops::{StandardLayer, Timeouts, Transport};
//! use tower::ServiceBuilder;
//! use tower_layer::Layer;
//!
//! # fn f() -> Result<(), sevenhops::ConfigError> {
//! let deadline = Duration::from_secs(10);
//! let hops = Transport::builder(Timeouts::new(deadline)?).build_hyper()?;
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
//! # Protects from
//!
//! | piece | where it goes | without it |
//! |---|---|---|
//! | [`HyperParts::http_connector`] | into the TLS connector | the first unreachable address uses up the whole connect timeout |
//! | [`HyperParts::resolver`] | already part of `http_connector`; or into your own `HttpConnector` | dns is part of the connect, and its TTL is not honored |
//! | [`HyperParts::tls`] | into the TLS connector | tls is part of the connect |
//! | [`HyperParts::connector_layer`] | around the whole connector | everything before the response is one wait |
//! | [`HyperParts::layer`] | around the client | send is part of the wait, the effect cannot be proved, and a pooled connection outlives its DNS record |
//!
//! # Reports
//!
//! All hops, as [`Transport`](crate::Transport) does. Errors are [`Error`](crate::Error)s.
//!
//! Without the layer around the client and without a stack, a failed setup names its hop, and its effect is `Possible`. A
//! layer between may have followed a redirect, so an earlier request may have been sent.
//!
//! # Trade-offs
//!
//! If a request finds that the address of its connection has left DNS, the connection is poisoned: no new request is
//! sent on it. This holds only for connections that have carried a response. The pool does not close such a connection
//! at once, but when it next checks it. New connections go to the first address that accepts. Each address gets its
//! share of the connect timeout. Addresses are not chosen by load or health, and an unreachable path looks like a
//! silent service. `Transport` chooses by load and health, and can tell the two apart.
//!
//! The client shares a connection among all requests to its server. So after a redirect to another origin that asks for
//! the client's certificate, the call fails at encode, and nothing is sent. [`HyperParts::layer`] also refuses a
//! redirect to an origin that has got the certificate before. Without that layer, and for the moment in which another
//! call connects to that origin, such a redirect may use a connection with the certificate.
//!
//! If a filter is set, connections that it cannot judge are refused. These are connections with a scheme other than
//! http and https. They are also connections whose address came neither from the URL nor from [`HyperParts::resolver`]
//! (a unix socket, a tunnel, another resolver). If the connector leads to a proxy that filters, set
//! [`proxy_filters`](crate::TransportBuilder::proxy_filters). [`HyperParts::layer`] rewrites `http://0x7f.1/` to the
//! address that it means; the connector layer alone refuses it.
//!
//! # How people get it wrong
//!
//! The order of the layers is wrong. If a layer that follows redirects or retries stands between the client and
//! [`StandardLayer`](crate::StandardLayer), its requests are not counted.

pub use crate::transport::body::RequestBody;
pub use crate::transport::foreign::{
    ConnectorFuture, ConnectorLayer, HyperParts, PoolLayer, PoolService, ResolverService,
    TrackedConnector,
};
