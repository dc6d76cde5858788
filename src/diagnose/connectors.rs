//! The evidence in errors of hyper-util's connectors.

use std::error::Error as StdError;

use http::Uri;
use hyper_util::client::legacy::Error as PoolError;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use tower_service::Service;

use super::evidence::Evidence;
use crate::chain::SocksError;
use crate::hop::{Hop, Kind};

/// The type has no public name.
type ConnectError = <HttpConnector as Service<Uri>>::Error;
type TunnelError = <Tunnel<HttpConnector> as Service<Uri>>::Error;

impl Evidence {
    pub(super) fn connector(&mut self, error: &(dyn StdError + 'static)) {
        if let Some(pool) = error.downcast_ref::<PoolError>() {
            if pool.is_connect() {
                // A later cause in the chain may be more exact.
                self.setup = Some(Hop::Connect);
            }
        } else if let Some(tunnel) = error.downcast_ref::<TunnelError>() {
            self.kind = match tunnel {
                TunnelError::ProxyAuthRequired => Some(Kind::ProxyUnauthorized),
                TunnelError::TunnelUnsuccessful | TunnelError::TunnelUnexpectedEof => {
                    Some(Kind::ProxyRefused)
                }
                _ => self.kind,
            };
        } else if let Some(socks) = error.downcast_ref::<SocksError>() {
            self.kind = match socks {
                // The next cause in the chain is more exact.
                SocksError::Inner(_) => self.kind,
                // The type of the next cause cannot be named.
                SocksError::V5(refusal) if UNAUTHORIZED.contains(&&*refusal.to_string()) => {
                    Some(Kind::ProxyUnauthorized)
                }
                _ => Some(Kind::ProxyRefused),
            };
        } else if self.setup.is_some() {
            self.stage(error);
        }
    }

    /// Two setup errors show their stage only in their message.
    fn stage(&mut self, error: &(dyn StdError + 'static)) {
        let message = error.to_string();
        if error.is::<ConnectError>() && message == "dns error" {
            self.setup = Some(Hop::Dns);
        } else if message == "tls handshake eof" {
            self.setup = Some(Hop::Tls);
        }
    }
}

/// The second message: the proxy accepts none of the offered authentication methods.
const UNAUTHORIZED: [&str; 2] = [
    "credentials not accepted",
    "server does not support user/pass authentication",
];
