//! The absolute names that a host may mean: the search list, in glibc's order.
//!
//! In this file, names are absolute and written without the trailing dot.

use std::collections::VecDeque;

/// A search list, and the number of dots from which a name is tried unchanged first.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    domains: Vec<Box<str>>,
    ndots: usize,
}

impl Search {
    /// Creates a search list. `domains` are lower-case and absolute; the root (an empty one) means "unchanged".
    pub(crate) fn new(domains: Vec<Box<str>>, ndots: usize) -> Self {
        Self { domains, ndots }
    }

    /// Returns the first name to try if it is `host` itself. That is the common case, and it allocates nothing.
    pub(crate) fn as_is_first<'a>(&self, host: &'a str) -> Option<&'a str> {
        match host.strip_suffix('.') {
            Some(absolute) => Some(absolute),
            None => (self.domains.is_empty() || dots(host) >= self.ndots).then_some(host),
        }
    }

    /// Returns all names to try, in order. Each is at most as long as DNS permits, and comes once. A host that looks
    /// like an address is not tried at all.
    pub(crate) fn names(&self, host: &str) -> VecDeque<Box<str>> {
        let mut names = VecDeque::with_capacity(self.domains.len() + 1);
        if ends_in_number(host) {
            return names;
        }
        if let Some(absolute) = host.strip_suffix('.') {
            push(&mut names, absolute.into());
            return names;
        }
        let as_is_first = self.as_is_first(host).is_some();
        if as_is_first {
            push(&mut names, host.into());
        }
        for domain in &self.domains {
            let name = match &**domain {
                "" => host.into(),
                domain => format!("{host}.{domain}").into(),
            };
            push(&mut names, name);
        }
        if !as_is_first {
            push(&mut names, host.into());
        }
        names
    }
}

fn push(names: &mut VecDeque<Box<str>>, name: Box<str>) {
    if is_name(&name) && !names.contains(&name) {
        names.push_back(name);
    }
}

/// Returns whether `name` can be queried (RFC 1035 §2.3.4). Other queries could only fail.
fn is_name(name: &str) -> bool {
    name.len() <= NAME_BYTES
        && name
            .split('.')
            .all(|l| (1..=LABEL_BYTES).contains(&l.len()))
}

/// Returns whether a host is an IPv4 address in any spelling (the "ends in a number" of the URL standard). No name in
/// DNS ends like that.
pub(crate) fn ends_in_number(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let last = host.rsplit('.').next().unwrap_or(host);
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    match hex {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

fn dots(host: &str) -> usize {
    host.bytes().filter(|&byte| byte == b'.').count()
}

/// 255 on the wire, minus the length byte of the first label and the root.
const NAME_BYTES: usize = 253;
const LABEL_BYTES: usize = 63;

/// The same maximum as in glibc.
pub(crate) const NDOTS: usize = 15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_with_fewer_dots_than_ndots_is_searched_first() {
        let search = search(&["corp.test", "other.test"], 2);

        assert_eq!(
            names(&search, "api"),
            ["api.corp.test", "api.other.test", "api"]
        );
        assert_eq!(
            names(&search, "a.b"),
            ["a.b.corp.test", "a.b.other.test", "a.b"]
        );
        assert_eq!(search.as_is_first("a.b"), None);
    }

    #[test]
    fn name_with_ndots_dots_is_tried_as_it_is_first() {
        let search = search(&["corp.test"], 2);

        assert_eq!(names(&search, "a.b.c"), ["a.b.c", "a.b.c.corp.test"]);
        assert_eq!(search.as_is_first("a.b.c"), Some("a.b.c"));
    }

    #[test]
    fn trailing_dot_means_absolute() {
        let search = search(&["corp.test"], 2);

        assert_eq!(names(&search, "api."), ["api"]);
        assert_eq!(search.as_is_first("api."), Some("api"));
    }

    #[test]
    fn without_a_list_every_name_is_absolute() {
        let search = search(&[], 1);

        assert_eq!(names(&search, "api"), ["api"]);
        assert_eq!(search.as_is_first("api"), Some("api"));
    }

    #[test]
    fn root_in_the_list_stands_for_the_name_itself_and_it_is_tried_once() {
        assert_eq!(
            names(&search(&["", "corp.test"], 1), "api"),
            ["api", "api.corp.test"]
        );
    }

    #[test]
    fn name_that_dns_cannot_carry_is_left_out() {
        let long = "a.".repeat(124) + "b";
        let search = search(&["corp.test"], 1);

        assert_eq!(names(&search, &long), [&*long]);
        assert!(names(&search, &"a".repeat(64)).is_empty());
        assert!(names(&search, "a..b").is_empty());
        assert!(names(&search, "").is_empty());
    }

    fn search(domains: &[&str], ndots: usize) -> Search {
        Search::new(domains.iter().map(|&d| d.into()).collect(), ndots)
    }

    fn names(search: &Search, host: &str) -> Vec<String> {
        search.names(host).into_iter().map(String::from).collect()
    }
}
