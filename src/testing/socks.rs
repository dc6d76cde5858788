//! The SOCKS5 side of the test proxy (RFC 1928, and RFC 1929 for the password).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// User and password, if the proxy requires them.
pub(super) type Credentials = (String, String);

/// The first byte of a client that speaks SOCKS.
pub(super) const VERSION: u8 = 5;

/// Greets a client and reads its target, as host and port. Returns `None` if the client was rejected for its
/// credentials.
pub(super) async fn greet(
    tcp: &mut TcpStream,
    wanted: Option<&Credentials>,
) -> io::Result<Option<String>> {
    let [_, count] = read(tcp).await?;
    let mut methods = vec![0; count.into()];
    tcp.read_exact(&mut methods).await?;
    let method = if wanted.is_some() { PASSWORD } else { NO_LOGIN };
    if !methods.contains(&method) {
        tcp.write_all(&[VERSION, NONE_ACCEPTABLE]).await?;
        return Ok(None);
    }
    tcp.write_all(&[VERSION, method]).await?;
    if let Some(wanted) = wanted {
        let _version = read::<1>(tcp).await?;
        let given = (text(tcp).await?, text(tcp).await?);
        let good = given == *wanted;
        tcp.write_all(&[LOGIN, u8::from(!good)]).await?;
        if !good {
            return Ok(None);
        }
    }
    authority(tcp).await.map(Some)
}

/// Sends the reply to the request that [`greet`] has read.
pub(super) async fn reply(tcp: &mut TcpStream, reply: SocksReply) -> io::Result<()> {
    // The proxy does not reveal the address to which it is bound.
    let nowhere = [0, IPV4, 0, 0, 0, 0, 0, 0];
    tcp.write_all(&[&[VERSION, reply as u8], &nowhere[..]].concat())
        .await
}

/// The replies of the proxy.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum SocksReply {
    Granted = 0,
    NotAllowed = 2,
    HostUnreachable = 4,
}

async fn authority(tcp: &mut TcpStream) -> io::Result<String> {
    let [_version, _command, _, kind] = read(tcp).await?;
    let host = match kind {
        IPV4 => IpAddr::from(Ipv4Addr::from(read::<4>(tcp).await?)).to_string(),
        IPV6 => format!("[{}]", Ipv6Addr::from(read::<16>(tcp).await?)),
        _ => text(tcp).await?,
    };
    let port = u16::from_be_bytes(read(tcp).await?);
    Ok(format!("{host}:{port}"))
}

/// Reads text with a length prefix.
async fn text(tcp: &mut TcpStream) -> io::Result<String> {
    let [length] = read(tcp).await?;
    let mut text = vec![0; length.into()];
    tcp.read_exact(&mut text).await?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

async fn read<const N: usize>(tcp: &mut TcpStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    tcp.read_exact(&mut bytes).await?;
    Ok(bytes)
}

const NO_LOGIN: u8 = 0;
const PASSWORD: u8 = 2;
const NONE_ACCEPTABLE: u8 = 0xff;
const LOGIN: u8 = 1;
const IPV4: u8 = 1;
const IPV6: u8 = 4;
