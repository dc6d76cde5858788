//! Names that need no DNS: the hosts file and `localhost`.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::listed::Listed;
use super::order::interleave;

/// What a hosts file says, and `localhost`.
#[derive(Debug)]
pub(crate) struct Hosts {
    by_name: HashMap<Box<str>, Listed>,
    loopback: Listed,
}

impl Hosts {
    /// Reads the lines of a hosts file; what is not an address followed by names is skipped, as
    /// everywhere.
    pub(crate) fn parse(lines: &str) -> Self {
        let mut by_name: HashMap<Box<str>, Vec<IpAddr>> = HashMap::new();
        for line in lines.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let Some(Ok(address)) = words.next().map(str::parse::<IpAddr>) else {
                continue;
            };
            for name in words {
                let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
                let addresses = by_name.entry(name.into()).or_default();
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
        }
        // Whatever a file says, "localhost" is this machine (RFC 6761 §6.3); but if it names only one of
        // the two loopback addresses, the other may not work here.
        let mut loopback = by_name.remove("localhost").unwrap_or_default();
        loopback.retain(IpAddr::is_loopback);
        if loopback.is_empty() {
            loopback = vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()];
        }
        let listed = |addresses: &[IpAddr]| Listed::new(interleave(addresses));
        let by_name = by_name.into_iter().map(|(name, a)| (name, listed(&a)));
        Self {
            by_name: by_name.collect(),
            loopback: listed(&loopback),
        }
    }

    /// The addresses of a name that is known without asking anybody.
    pub(crate) fn find(&self, host: &str) -> Option<&Listed> {
        let host = host.strip_suffix('.').unwrap_or(host);
        let is_localhost = host
            .strip_suffix("localhost")
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        if is_localhost {
            return Some(&self.loopback);
        }
        self.by_name.get(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d27_hosts_file_is_honoured() {
        let hosts = Hosts::parse(
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
        let hosts = Hosts::parse("10.0.0.1 localhost");
        for host in ["localhost", "localhost.", "a.localhost"] {
            assert_eq!(find(&hosts, host), ["::1", "127.0.0.1"]);
        }
        assert_eq!(hosts.find("notlocalhost"), None);
    }

    #[test]
    fn file_may_choose_which_loopback() {
        let hosts = Hosts::parse("127.0.0.1 localhost\n10.0.0.1 localhost");
        assert_eq!(find(&hosts, "localhost"), ["127.0.0.1"]);
    }

    fn find(hosts: &Hosts, host: &str) -> Vec<String> {
        let addresses = hosts.find(host).unwrap().addresses().iter();
        addresses.map(ToString::to_string).collect()
    }
}
