//! The `hosts:` line of nsswitch.conf: whether the hosts file is used, and before or after DNS.
//!
//! Only the order of `files` and DNS (`dns`, or systemd's `resolve`) counts. Other services and the actions in brackets
//! exist only in glibc.

use std::io;
use std::path::Path;

use super::malformed::Malformed;

/// The place of the hosts file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum HostsOrder {
    /// Before DNS: the default of systems without such a line.
    #[default]
    First,
    /// After DNS, for names that it does not resolve.
    Last,
    /// It is not used.
    Never,
}

impl HostsOrder {
    /// Reads the file at `path`. Systems without glibc have none.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        let bytes = match std::fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            read => read?,
        };
        let mut malformed = Malformed::default();
        let order = Self::parse(&String::from_utf8_lossy(&bytes), &mut malformed);
        malformed.report(path);
        Ok(order)
    }

    pub(crate) fn parse(lines: &str, malformed: &mut Malformed) -> Self {
        let mut order = None;
        for (number, line) in lines.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            match line.split_once(':') {
                Some((database, services)) if database.trim() == "hosts" => {
                    match Self::of(services) {
                        Some(of) => order = order.or(Some(of)),
                        None => malformed.add(number),
                    }
                }
                Some(_) => {}
                None if line.is_empty() => {}
                None => malformed.add(number),
            }
        }
        order.unwrap_or_default()
    }

    /// Reads the services of the line; `None` if there are none.
    fn of(services: &str) -> Option<Self> {
        let services = without_actions(services);
        let mut services = services.split_whitespace().peekable();
        services.peek()?;
        let (mut files, mut dns) = (None, None);
        for (place, service) in services.enumerate() {
            match service {
                "files" => files = files.or(Some(place)),
                "dns" | "resolve" => dns = dns.or(Some(place)),
                _ => {}
            }
        }
        Some(match (files, dns) {
            (None, _) => Self::Never,
            (Some(files), Some(dns)) if dns < files => Self::Last,
            (Some(_), _) => Self::First,
        })
    }
}

fn without_actions(services: &str) -> String {
    let mut parts = services.split('[');
    let mut bare = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        bare.push(' ');
        bare.push_str(part.split_once(']').map_or("", |(_, rest)| rest));
    }
    bare
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_files_and_dns_decide() {
        use HostsOrder::{First, Last, Never};
        for (line, expected) in [
            ("hosts: files dns", First),
            (
                "hosts:\tfiles mdns4_minimal [NOTFOUND=return] dns myhostname",
                First,
            ),
            ("  hosts : dns files # as it was", Last),
            ("hosts: dns [!UNAVAIL=return] files", Last),
            ("hosts: resolve [!UNAVAIL=return] files dns", Last),
            ("hosts: dns", Never),
            ("hosts: dns [files]", Never),
            ("hosts: files", First),
            ("hosts: files\nhosts: dns", First),
            ("passwd: files\n# hosts: dns\n", First),
            ("", First),
        ] {
            let mut malformed = Malformed::default();
            assert_eq!(HostsOrder::parse(line, &mut malformed), expected, "{line}");
            assert!(format!("{malformed:?}").contains("lines: 0"), "{line}");
        }
    }

    #[test]
    fn malformed_lines_are_counted_and_change_nothing() {
        let mut malformed = Malformed::default();
        let text = "hosts files\n:\nhosts:\nhosts: [\nhosts: dns\n]]\n";
        assert_eq!(HostsOrder::parse(text, &mut malformed), HostsOrder::Never);
        assert_eq!(format!("{malformed:?}"), "Malformed { lines: 4, first: 1 }");
    }
}
