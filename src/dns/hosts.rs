//! Names that need no DNS: the hosts file and `localhost`.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use super::address_set::AddressSet;
use super::malformed::Malformed;
use super::order::interleave;
use super::system::HOSTS;
use crate::config_error::ConfigError;

/// The entries of a hosts file, and `localhost`.
#[derive(Debug)]
pub(crate) struct Hosts {
    by_name: HashMap<Box<str>, AddressSet>,
    loopback: AddressSet,
}

impl Hosts {
    /// Reads the lines of a hosts file: an address and its names.
    pub(crate) fn parse(lines: &str, malformed: &mut Malformed) -> Self {
        let mut by_name: HashMap<Box<str>, Vec<IpAddr>> = HashMap::new();
        for (number, line) in lines.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace().peekable();
            let Some(first) = words.next() else {
                continue;
            };
            // macOS has `fe80::1%lo0 localhost`. It cannot be used here, and is not malformed.
            let is_scoped = first.contains('%');
            let address = match first.parse::<IpAddr>() {
                Ok(address) if words.peek().is_some() => address,
                _ => {
                    if !is_scoped {
                        malformed.add(number);
                    }
                    continue;
                }
            };
            for name in words {
                let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
                let addresses = by_name.entry(name.into()).or_default();
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
        }
        // "localhost" is always this machine, whatever a file says (RFC 6761 §6.3). If the file names only one of the
        // two loopback addresses, the other one may not work here.
        let mut loopback = by_name.remove("localhost").unwrap_or_default();
        loopback.retain(IpAddr::is_loopback);
        if loopback.is_empty() {
            loopback = vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()];
        }
        let listed = |addresses: &[IpAddr]| AddressSet::new(interleave(addresses));
        let by_name = by_name.into_iter().map(|(name, a)| (name, listed(&a)));
        Self {
            by_name: by_name.collect(),
            loopback: listed(&loopback),
        }
    }

    /// Returns the addresses of a name, from the file or as `localhost`.
    pub(crate) fn find(&self, host: &str) -> Option<&AddressSet> {
        let host = host.strip_suffix('.').unwrap_or(host);
        self.localhost(host).or_else(|| self.by_name.get(host))
    }

    /// Returns the addresses of `localhost` and the names below it.
    pub(crate) fn localhost(&self, host: &str) -> Option<&AddressSet> {
        let host = host.strip_suffix('.').unwrap_or(host);
        let rest = host.strip_suffix("localhost")?;
        (rest.is_empty() || rest.ends_with('.')).then_some(&self.loopback)
    }
}

impl Default for Hosts {
    /// Creates hosts that contain only `localhost`.
    fn default() -> Self {
        Self::parse("", &mut Malformed::default())
    }
}

/// The hosts file to read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostsFile {
    /// The system's file, if there is one.
    System,
    /// No file.
    Ignore,
    /// The file at a path, which must exist.
    At(PathBuf),
}

impl HostsFile {
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::System => Some(Path::new(HOSTS)),
            Self::Ignore => None,
            Self::At(path) => Some(path),
        }
    }

    pub(crate) fn read(&self) -> Result<Hosts, ConfigError> {
        let Some(path) = self.path() else {
            return Ok(Hosts::default());
        };
        let lines = std::fs::read(path).map(lossy).map_err(|error| {
            ConfigError::failed(format!("resolver.hosts_file {}", path.display()), error)
        })?;
        let mut malformed = Malformed::default();
        let hosts = Hosts::parse(&lines, &mut malformed);
        malformed.report(path);
        Ok(hosts)
    }
}

fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

impl From<bool> for HostsFile {
    fn from(system: bool) -> Self {
        if system { Self::System } else { Self::Ignore }
    }
}

impl From<&Path> for HostsFile {
    fn from(path: &Path) -> Self {
        Self::At(path.to_owned())
    }
}

impl From<PathBuf> for HostsFile {
    fn from(path: PathBuf) -> Self {
        Self::At(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_file_is_honored() {
        let hosts = parse(
            "# comment\n\
             10.0.0.1 Api.Test alias # 10.0.0.9 ignored\n\
             10.0.0.2\tapi.test\n\
             fd00::1  api.test.\n\
             nonsense api.test\n\
             10.0.0.1 api.test\n",
        );

        assert_eq!(
            find(&hosts, "api.test"),
            ["fd00::1", "10.0.0.1", "10.0.0.2"]
        );
        assert_eq!(find(&hosts, "api.test."), find(&hosts, "api.test"));
        assert_eq!(find(&hosts, "alias"), ["10.0.0.1"]);
        assert_eq!(hosts.find("ignored"), None);
    }

    #[test]
    fn localhost_is_loopback_whatever_the_file_says() {
        let hosts = parse("10.0.0.1 localhost");
        for host in ["localhost", "localhost.", "a.localhost"] {
            assert_eq!(find(&hosts, host), ["::1", "127.0.0.1"]);
        }
        assert_eq!(hosts.find("notlocalhost"), None);
    }

    #[test]
    fn file_may_choose_the_loopback_address() {
        let hosts = parse("127.0.0.1 localhost\n10.0.0.1 localhost");
        assert_eq!(find(&hosts, "localhost"), ["127.0.0.1"]);
    }

    #[test]
    fn malformed_lines_are_counted_and_the_others_apply() {
        let mut malformed = Malformed::default();
        let text = "\0\n10.0.0.1\n10.0.0 a.test\n10.0.0.2 b.test\nfe80::1%lo0 localhost\n#\n";
        let hosts = Hosts::parse(text, &mut malformed);
        assert_eq!(find(&hosts, "b.test"), ["10.0.0.2"]);
        assert_eq!(format!("{malformed:?}"), "Malformed { lines: 3, first: 1 }");
    }

    fn parse(lines: &str) -> Hosts {
        Hosts::parse(lines, &mut Malformed::default())
    }

    fn find(hosts: &Hosts, host: &str) -> Vec<String> {
        let addresses = hosts.find(host).unwrap().addresses().iter();
        addresses.map(ToString::to_string).collect()
    }
}
