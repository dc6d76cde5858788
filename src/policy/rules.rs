//! The rules of limits that destinations share: by name, and only newer ones replace those in effect.

use std::sync::Arc;

use crate::destination::{Destination, Hosts};

/// Rules, and the generation of the config that they are from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Versioned<R> {
    pub(crate) generation: u64,
    pub(crate) rules: R,
}

impl<R: Copy + PartialEq> Versioned<R> {
    /// Follows the rules of a later config. Returns the rules before them if they differ.
    ///
    /// A call keeps the config that it began with, so it may bring old rules after a reload. They are ignored.
    pub(crate) fn follow(&mut self, newer: Self) -> Option<R> {
        if newer.generation <= self.generation {
            return None;
        }
        let before = std::mem::replace(self, newer).rules;
        (before != newer.rules).then_some(before)
    }
}

/// The rules of a config for the destinations that the user's function names. A name that begins like a URL has those of
/// that host, all other names have those of the top of the config.
#[derive(Debug)]
pub(crate) struct NamedRules<C> {
    generation: u64,
    hosts: Arc<Hosts<Option<C>>>,
}

impl<C> NamedRules<C> {
    /// Takes the rules of a config. Each reload has a greater generation.
    pub(crate) fn new(generation: u64, hosts: Hosts<Option<C>>) -> Self {
        Self {
            generation,
            hosts: Arc::new(hosts),
        }
    }

    /// Returns the rules of a name; `own` are those of the call. They count if the destination has no name of its own,
    /// or if its name has no rules.
    pub(crate) fn of<R>(
        &self,
        name: Option<&Destination>,
        own: &C,
        rules: impl FnOnce(&C) -> R,
    ) -> Versioned<R> {
        let named = name.and_then(|name| self.hosts.of(name).as_ref());
        Versioned {
            generation: self.generation,
            rules: rules(named.unwrap_or(own)),
        }
    }
}

impl<C> Clone for NamedRules<C> {
    fn clone(&self) -> Self {
        Self {
            generation: self.generation,
            hosts: Arc::clone(&self.hosts),
        }
    }
}

/// No rules except those of the calls.
impl<C> Default for NamedRules<C> {
    fn default() -> Self {
        Self::new(0, Hosts::all(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(generation: u64, rules: char) -> Versioned<char> {
        Versioned { generation, rules }
    }

    #[test]
    fn only_newer_rules_replace_those_in_effect() {
        let mut held = version(1, 'a');
        for (newer, before, rules) in [
            (version(0, 'b'), None, 'a'),
            (version(1, 'b'), None, 'a'),
            (version(2, 'a'), None, 'a'),
            (version(3, 'c'), Some('a'), 'c'),
            (version(2, 'a'), None, 'c'),
        ] {
            assert_eq!(held.follow(newer), before, "{newer:?}");
            assert_eq!(held.rules, rules, "{newer:?}");
        }
    }

    #[test]
    fn rules_of_the_call_count_where_the_name_has_none() {
        let top = NamedRules::new(4, Hosts::all(Some('t')));
        let name = Destination::named("a tenant");
        let of = |rules: &NamedRules<char>, name| rules.of(name, &'o', |rules| *rules).rules;
        assert_eq!(of(&top, Some(&name)), 't');
        assert_eq!(of(&top, None), 'o');
        assert_eq!(of(&NamedRules::default(), Some(&name)), 'o');
        assert_eq!(top.of(None, &'o', |_| ()).generation, 4);
    }
}
