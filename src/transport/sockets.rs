//! Which TCP connections of this process's network are established, as the kernel lists them: reqwest
//! does not tell when it closes one.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Our end and the peer's.
pub(super) type Ends = (SocketAddr, SocketAddr);

/// The established connections; `None` where the kernel has no such list.
pub(super) fn established() -> Option<HashSet<Ends>> {
    let v4 = std::fs::read_to_string("/proc/self/net/tcp").ok()?;
    let v6 = std::fs::read_to_string("/proc/self/net/tcp6").unwrap_or_default();
    Some(v4.lines().chain(v6.lines()).filter_map(read).collect())
}

/// Reads `sl  local_address rem_address   st …`.
fn read(line: &str) -> Option<Ends> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (local, peer) = (address(fields.next()?)?, address(fields.next()?)?);
    (fields.next()? == ESTABLISHED).then_some((local, peer))
}

/// Reads `0100007F:1F90`: words in the order of this machine's bytes.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let word = |at: usize| {
        let word = address.get(at * 8..at * 8 + 8)?;
        u32::from_str_radix(word, 16).ok().map(u32::to_ne_bytes)
    };
    let address: IpAddr = match address.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let mut bytes = [0; 16];
            for at in 0..4 {
                bytes[at * 4..at * 4 + 4].copy_from_slice(&word(at)?);
            }
            Ipv6Addr::from(bytes).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(
        address,
        u16::from_str_radix(port, 16).ok()?,
    ))
}

const ESTABLISHED: &str = "01";

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_endian = "little")]
    #[test]
    fn line_of_the_kernel_is_read() {
        let line = "   3: 0100007F:1F90 0200007F:D431 01 00000000:00000000 00:00000000";
        let ends = ("127.0.0.1:8080", "127.0.0.2:54321");
        let ends = (ends.0.parse().unwrap(), ends.1.parse().unwrap());
        assert_eq!(read(line), Some(ends));
        let six =
            "0: 00000000000000000000000001000000:0050 0000000000000000FFFF00000100007F:0051 01";
        let ends = ("[::1]:80".parse().unwrap(), "127.0.0.1:81".parse().unwrap());
        assert_eq!(read(six), Some(ends));
    }

    #[test]
    fn what_is_no_established_connection_is_none() {
        for line in [
            "  sl  local_address rem_address   st tx_queue",
            "0: 0100007F:1F90 00000000:0000 0A 00000000:00000000",
            "0: 0100007F:1F90 0200007F:D431 06",
            "0: 0100007F 0200007F:D431 01",
            "0: é100007:1F90 0200007F:D431 01",
            "",
        ] {
            assert_eq!(read(line), None, "{line}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn connection_is_listed_while_it_stands() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let ends = (ours.local_addr().unwrap(), ours.peer_addr().unwrap());
        assert!(established().unwrap().contains(&ends));
        drop((ours, listener));
        assert!(!established().unwrap().contains(&ends));
    }
}
