//! Values by destination: one for each host with its own value, and one for all other hosts.

use std::collections::HashMap;

use http::Uri;

use super::Destination;
use super::pattern::Host;

/// Values by host and route.
#[derive(Clone, Debug)]
pub(crate) struct Table<T> {
    /// For calls without a route, and for routes without values of their own.
    pub(crate) plain: Hosts<T>,
    pub(crate) routes: HashMap<Box<str>, Hosts<T>>,
}

/// Values by host.
#[derive(Clone, Debug)]
pub(crate) struct Hosts<T> {
    /// The most specific pattern is first.
    rows: Vec<(Host, T)>,
    rest: T,
}

impl<T> Table<T> {
    /// Creates a table with the same value for all calls.
    #[cfg(test)]
    pub(crate) fn all(value: T) -> Self {
        Self {
            plain: Hosts::all(value),
            routes: HashMap::new(),
        }
    }

    /// Returns whether all calls have the same value.
    pub(crate) fn is_one(&self) -> bool {
        self.plain.rows.is_empty() && self.routes.is_empty()
    }

    pub(crate) fn has_routes(&self) -> bool {
        !self.routes.is_empty()
    }

    /// Returns the value of a call.
    pub(crate) fn find(&self, url: &Uri, route: Option<&str>) -> &T {
        let of_route = route.and_then(|route| self.routes.get(route));
        of_route.unwrap_or(&self.plain).find(url)
    }

    /// Returns all values, in no order.
    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        let hosts = self.routes.values().chain([&self.plain]);
        hosts.flat_map(|hosts| {
            hosts
                .rows
                .iter()
                .map(|(_, value)| value)
                .chain([&hosts.rest])
        })
    }

    pub(crate) fn map<U>(&self, mut with: impl FnMut(&T) -> U) -> Table<U> {
        let routes = self.routes.iter();
        Table {
            plain: self.plain.map(&mut with),
            routes: routes
                .map(|(route, hosts)| (route.clone(), hosts.map(&mut with)))
                .collect(),
        }
    }
}

impl<T> Hosts<T> {
    /// Creates a table with the same value for all hosts.
    pub(crate) const fn all(value: T) -> Self {
        Self {
            rows: Vec::new(),
            rest: value,
        }
    }

    /// Creates a table with these values for these hosts, and one for all others.
    pub(crate) fn new(mut rows: Vec<(Host, T)>, rest: T) -> Self {
        rows.sort_by_key(|(host, _)| std::cmp::Reverse(host.rank()));
        Self { rows, rest }
    }

    /// Returns the value of hosts without a value of their own.
    pub(crate) const fn rest(&self) -> &T {
        &self.rest
    }

    /// Returns the value of a URL's host.
    pub(crate) fn find(&self, url: &Uri) -> &T {
        if self.rows.is_empty() {
            return &self.rest;
        }
        let Some(authority) = url.authority() else {
            return &self.rest;
        };
        let port = authority.port_u16().or_else(|| usual_port(url));
        let host = authority.host();
        let row = self.rows.iter().find(|(own, _)| own.matches(host, port));
        row.map_or(&self.rest, |(_, value)| value)
    }

    /// Returns the value of a destination. If its name is not an origin, that is the value of all other hosts.
    pub(crate) fn of(&self, destination: &Destination) -> &T {
        match self.rows.is_empty() {
            true => &self.rest,
            false => (destination.as_str().parse()).map_or(&self.rest, |url| self.find(&url)),
        }
    }

    pub(crate) fn map<U>(&self, mut with: impl FnMut(&T) -> U) -> Hosts<U> {
        let rows = self.rows.iter();
        Hosts {
            rest: with(&self.rest),
            rows: rows
                .map(|(host, value)| (host.clone(), with(value)))
                .collect(),
        }
    }
}

/// Returns the default port of the URL's scheme.
fn usual_port(url: &Uri) -> Option<u16> {
    match url.scheme_str() {
        Some("https") => Some(443),
        Some("http") => Some(80),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::pattern::Pattern;
    use super::*;

    fn hosts(rows: &[(&str, u8)]) -> Hosts<u8> {
        let row = |(text, value): &(&str, u8)| (Pattern::read(text).unwrap().host, *value);
        Hosts::new(rows.iter().map(row).collect(), 0)
    }

    #[test]
    fn most_specific_host_is_found_wherever_it_stands() {
        let hosts = hosts(&[
            ("*.test", 1),
            ("api.bank.test:8443", 4),
            ("*.bank.test", 2),
            ("api.bank.test", 3),
        ]);
        for (url, value) in [
            ("https://a.test/", 1),
            ("https://a.bank.test/", 2),
            ("http://API.bank.test/", 3),
            ("https://api.bank.test:8443/x", 4),
            ("https://test/", 0),
            ("/relative", 0),
        ] {
            assert_eq!(*hosts.find(&url.parse().unwrap()), value, "{url}");
        }
        let of = |name: &str| *hosts.of(&Destination::named(name));
        assert_eq!((of("https://a.bank.test"), of("a tenant")), (2, 0));
    }

    #[test]
    fn port_that_the_scheme_stands_for_counts() {
        let hosts = hosts(&[("api.test:443", 1)]);
        let found = |url: &'static str| *hosts.find(&Uri::from_static(url));
        assert_eq!(
            (found("https://api.test"), found("https://api.test:443")),
            (1, 1)
        );
        assert_eq!(
            (found("http://api.test"), found("http://api.test:443")),
            (0, 1)
        );
    }

    #[test]
    fn route_goes_before_the_host() {
        let mut table = Table::all(0);
        assert!(table.is_one());
        table.plain = hosts(&[("api.test", 1)]);
        table
            .routes
            .insert("/v1".into(), hosts(&[("api.test", 3), ("*.test", 2)]));
        let url = Uri::from_static("https://api.test/v1");
        assert_eq!(*table.find(&url, None), 1);
        assert_eq!(*table.find(&url, Some("/v1")), 3);
        assert_eq!(
            *table.find(&url, Some("/v2")),
            1,
            "it has no values of its own"
        );
        let mut all: Vec<_> = table.values().copied().collect();
        all.sort_unstable();
        assert_eq!(all, [0, 0, 1, 2, 3]);
    }
}
