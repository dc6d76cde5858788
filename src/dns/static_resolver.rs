//! Fixed addresses.

use std::collections::HashMap;
use std::net::IpAddr;

use super::address_set::AddressSet;
use super::{Answer, DnsError, DnsErrorReason, Resolution, Resolve, UNCHANGING};

/// Resolves names from a table, without queries and without waiting.
///
/// It is for tests, and for hosts with pinned addresses. A name that is not in the table does not exist.
///
/// # Example
///
/// ```
/// use sevenhops::dns::{Resolve, Resolution, StaticResolver};
///
/// let dns = StaticResolver::new().host("api.test", ["127.0.0.1".parse()?]);
///
/// let Resolution::Cached(Ok(answer)) = dns.resolve("api.test") else {
///     panic!("a fixed address is known");
/// };
/// assert_eq!(answer.addresses().len(), 1);
/// assert!(matches!(dns.resolve("other.test"), Resolution::Cached(Err(_))));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct StaticResolver {
    hosts: HashMap<Box<str>, AddressSet>,
}

impl StaticResolver {
    /// Creates an empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the addresses of a name, and replaces earlier ones. Without addresses, the name exists but has none.
    #[must_use]
    pub fn host(mut self, name: &str, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let name = absolute(name).to_ascii_lowercase();
        let addresses: Vec<_> = addresses.into_iter().collect();
        self.hosts.insert(name.into(), AddressSet::new(addresses));
        self
    }
}

impl Resolve for StaticResolver {
    fn resolve(&self, host: &str) -> Resolution {
        Resolution::Cached(match self.hosts.get(absolute(host)) {
            None => Err(DnsError::new(host, DnsErrorReason::NotFound)),
            Some(listed) if listed.addresses().is_empty() => {
                Err(DnsError::new(host, DnsErrorReason::NoRecords))
            }
            Some(listed) => Ok(Answer::remembered(listed.clone(), UNCHANGING)),
        })
    }
}

/// Returns a name without its trailing dot. There is no search list here, so the dot has no effect.
fn absolute(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_is_found_in_any_case_and_with_a_trailing_dot() {
        let dns = StaticResolver::new().host("Api.Test.", [[127, 0, 0, 1].into()]);

        for host in ["api.test", "api.test."] {
            assert!(matches!(dns.resolve(host), Resolution::Cached(Ok(_))));
        }
    }

    #[test]
    fn name_without_addresses_exists() {
        let dns = StaticResolver::new().host("api.test", []);

        let Resolution::Cached(Err(error)) = dns.resolve("api.test") else {
            panic!("an empty entry is an error");
        };
        assert_eq!(error.reason(), DnsErrorReason::NoRecords);
    }
}
