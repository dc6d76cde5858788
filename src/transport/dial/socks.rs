//! A tunnel through a SOCKS5 proxy (RFC 1928), which looks names up itself.

use std::io;
use std::net::IpAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::box_error::BoxError;
use crate::hop::{Kind, TunnelRefused};
use crate::transport::proxy::Credentials;
use crate::transport::wire::stream::Stream;

/// Asks the proxy for a tunnel to a destination.
pub(super) async fn connect(
    mut stream: Stream,
    (host, port): (&str, u16),
    credentials: Option<Credentials>,
) -> Result<Stream, BoxError> {
    log_in(&mut stream, credentials).await.map_err(told)?;
    ask(&mut stream, host, port).await.map_err(told)?;
    Ok(stream)
}

/// Negotiates the authentication method, and logs in (RFC 1929).
async fn log_in(stream: &mut Stream, credentials: Option<Credentials>) -> Result<(), SocksFailure> {
    let greeting: &[u8] = match credentials {
        None => &[VERSION, 1, NO_LOGIN],
        Some(_) => &[VERSION, 2, NO_LOGIN, BY_PASSWORD],
    };
    stream.write_all(greeting).await?;
    let mut chosen = [0; 2];
    stream.read_exact(&mut chosen).await?;
    match (chosen, credentials) {
        ([VERSION, NO_LOGIN], _) => Ok(()),
        ([VERSION, BY_PASSWORD], Some((user, password))) => {
            let mut login = vec![LOGIN_VERSION];
            for part in [user, password] {
                let length = u8::try_from(part.len());
                login.push(length.map_err(|_| SocksFailure::Login("more than 255 bytes"))?);
                login.extend(part);
            }
            stream.write_all(&login).await?;
            let mut verdict = [0; 2];
            stream.read_exact(&mut verdict).await?;
            match verdict[1] {
                0 => Ok(()),
                _ => Err(SocksFailure::Login("it does not accept the credentials")),
            }
        }
        ([VERSION, _], _) => Err(SocksFailure::Login(
            "it requires another authentication method",
        )),
        _ => Err(SocksFailure::Refused("it does not speak SOCKS5")),
    }
}

/// Names the destination, and reads the reply.
async fn ask(stream: &mut Stream, host: &str, port: u16) -> Result<(), SocksFailure> {
    let mut request = vec![VERSION, CONNECT, RESERVED];
    match host.parse() {
        Ok(IpAddr::V4(address)) => {
            request.push(V4);
            request.extend(address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            request.push(V6);
            request.extend(address.octets());
        }
        Err(_) => {
            let length = u8::try_from(host.len());
            request.push(NAME);
            request.push(length.map_err(|_| SocksFailure::Denied("the name is too long"))?);
            request.extend(host.as_bytes());
        }
    }
    request.extend(port.to_be_bytes());
    stream.write_all(&request).await?;
    let mut reply = [0; 4];
    stream.read_exact(&mut reply).await?;
    let [version, code, _, kind] = reply;
    if version != VERSION {
        return Err(SocksFailure::Refused("it does not speak SOCKS5"));
    }
    if code != 0 {
        return Err(refusal(code));
    }
    // The address of the proxy's own end of the connection. It is not used.
    let address = match kind {
        V4 => 4,
        V6 => 16,
        NAME => usize::from(stream.read_u8().await?),
        _ => return Err(SocksFailure::Refused("it does not speak SOCKS5")),
    };
    let mut rest = vec![0; address + 2];
    stream.read_exact(&mut rest).await?;
    Ok(())
}

/// Returns the failure that a reply names (RFC 1928 §6). A denial is permanent.
const fn refusal(code: u8) -> SocksFailure {
    SocksFailure::Refused(match code {
        2 => return SocksFailure::Denied("its rules do not allow the destination"),
        7 => return SocksFailure::Denied("it does not support CONNECT"),
        8 => return SocksFailure::Denied("it does not support this kind of address"),
        3 => "the network is unreachable",
        4 => "the host is unreachable",
        5 => "the destination refused the connection",
        6 => "the time to live expired",
        _ => "general failure",
    })
}

enum SocksFailure {
    Login(&'static str),
    Refused(&'static str),
    Denied(&'static str),
    Broken(io::Error),
}

impl From<io::Error> for SocksFailure {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

fn told(failed: SocksFailure) -> BoxError {
    let (kind, why) = match failed {
        SocksFailure::Login(why) => (Kind::ProxyUnauthorized, why.to_owned()),
        SocksFailure::Refused(why) => (Kind::ProxyRefused, why.to_owned()),
        SocksFailure::Denied(why) => (Kind::ProxyDenied, why.to_owned()),
        SocksFailure::Broken(error) => (Kind::ProxyRefused, error.to_string()),
    };
    Box::new(TunnelRefused {
        kind,
        status: None,
        why,
    })
}

const VERSION: u8 = 5;
const LOGIN_VERSION: u8 = 1;
const NO_LOGIN: u8 = 0;
const BY_PASSWORD: u8 = 2;
const CONNECT: u8 = 1;
const RESERVED: u8 = 0;
const V4: u8 = 1;
const NAME: u8 = 3;
const V6: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reply_is_a_denial_if_a_retry_would_get_the_same() {
        for code in 1..=9 {
            let error = told(refusal(code));
            let expected = match code {
                2 | 7 | 8 => Kind::ProxyDenied,
                _ => Kind::ProxyRefused,
            };
            let refused = error.downcast_ref::<TunnelRefused>().unwrap();
            assert_eq!(refused.kind, expected, "{code}: {error}");
        }
    }
}
