//! The scripts of all names. Pure: without messages and sockets.

use std::collections::HashMap;
use std::net::IpAddr;

use super::script::{DnsScript, Soa};
use super::{DnsQuery, QueryTransport, RecordType};

/// The scripts by name.
#[derive(Debug, Default)]
pub(super) struct Zone {
    names: HashMap<String, Scripts>,
}

#[derive(Debug, Default)]
struct Scripts {
    any: Option<DnsScript>,
    by_type: HashMap<RecordType, DnsScript>,
}

/// The response to a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ZoneReply {
    Records(Records),
    Failed(ZoneFailure),
    Truncated,
    Referral,
    OtherQuestion,
    Garbage,
    Silent,
}

/// The records of a response: the aliases that lead to the name, and the records of the name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Records {
    /// The alias, its target, and its TTL.
    pub(super) aliases: Vec<(String, String, u32)>,
    pub(super) owner: String,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) ttl: u32,
    pub(super) exists: bool,
    /// Set if there are no addresses.
    pub(super) soa: Option<Soa>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ZoneFailure {
    ServFail,
    Refused,
    FormErr,
}

impl Zone {
    pub(super) fn set(&mut self, name: &str, script: DnsScript) {
        let scripts = Scripts {
            any: Some(script),
            by_type: HashMap::new(),
        };
        self.names.insert(canonical(name), scripts);
    }

    pub(super) fn set_type(&mut self, name: &str, record_type: RecordType, script: DnsScript) {
        let scripts = self.names.entry(canonical(name)).or_default();
        scripts.by_type.insert(record_type, script);
    }

    /// Replies to a query, and follows aliases to their end.
    pub(super) fn reply(&self, query: &DnsQuery) -> ZoneReply {
        let (record_type, over_udp) = (query.record_type, query.transport == QueryTransport::Udp);
        let mut records = Records::default();
        let mut owner = canonical(&query.name);
        // An alias that leads back to itself ends the response where the loop closes.
        for _ in 0..=self.names.len() {
            let mut script = self.script(&owner, record_type);
            let mut soa = Some(Soa::DEFAULT);
            loop {
                match script {
                    DnsScript::Soa {
                        script: inner,
                        soa: own,
                    } => (script, soa) = (inner, *own),
                    DnsScript::Truncated(_) if over_udp => return ZoneReply::Truncated,
                    DnsScript::TcpOnly(_) if over_udp => return ZoneReply::Silent,
                    DnsScript::NoEdns(_) if query.edns => {
                        return ZoneReply::Failed(ZoneFailure::FormErr);
                    }
                    DnsScript::Truncated(inner)
                    | DnsScript::TcpOnly(inner)
                    | DnsScript::NoEdns(inner) => script = inner,
                    _ => break,
                }
            }
            let (addresses, ttl, exists) = match script {
                DnsScript::Cname { target, ttl } => {
                    records.aliases.push((owner, target.clone(), *ttl));
                    owner = target.clone();
                    continue;
                }
                DnsScript::Addresses { addresses, ttl } => {
                    (of_type(addresses, record_type), *ttl, true)
                }
                DnsScript::NoRecords => (Vec::new(), 0, true),
                DnsScript::NxDomain => (Vec::new(), 0, false),
                DnsScript::ServFail => return ZoneReply::Failed(ZoneFailure::ServFail),
                DnsScript::Refused => return ZoneReply::Failed(ZoneFailure::Refused),
                DnsScript::Silent => return ZoneReply::Silent,
                DnsScript::Garbage => return ZoneReply::Garbage,
                DnsScript::Referral => return ZoneReply::Referral,
                DnsScript::OtherQuestion => return ZoneReply::OtherQuestion,
                DnsScript::Soa { .. }
                | DnsScript::Truncated(_)
                | DnsScript::TcpOnly(_)
                | DnsScript::NoEdns(_) => unreachable!("unwrapped above"),
            };
            records.soa = soa.filter(|_| addresses.is_empty());
            (records.addresses, records.ttl, records.exists) = (addresses, ttl, exists);
            break;
        }
        records.owner = owner;
        ZoneReply::Records(records)
    }

    fn script(&self, name: &str, record_type: RecordType) -> &DnsScript {
        match self.names.get(name) {
            None => &DnsScript::NxDomain,
            Some(scripts) => scripts
                .by_type
                .get(&record_type)
                .or(scripts.any.as_ref())
                // Only one type has a script, so the name exists.
                .unwrap_or(&DnsScript::NoRecords),
        }
    }
}

fn of_type(addresses: &[IpAddr], record_type: RecordType) -> Vec<IpAddr> {
    let wanted = |address: &&IpAddr| match record_type {
        RecordType::A => address.is_ipv4(),
        RecordType::Aaaa => address.is_ipv6(),
        RecordType::Other => false,
    };
    addresses.iter().filter(wanted).copied().collect()
}

/// Names are compared in lower case and without the trailing dot.
pub(super) fn canonical(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_chain_stands_in_one_answer() {
        let mut zone = Zone::default();
        zone.set("a.test", DnsScript::cname("B.test.", 30));
        zone.set("b.test", DnsScript::cname("c.test", 5));
        zone.set("c.test", DnsScript::addresses([[10, 0, 0, 1].into()]));

        let records = records(&zone, "A.test.", RecordType::A);

        assert_eq!(records.aliases.len(), 2);
        assert_eq!((&*records.owner, records.addresses.len()), ("c.test", 1));
    }

    #[test]
    fn chain_that_bites_its_tail_ends() {
        let mut zone = Zone::default();
        zone.set("a.test", DnsScript::cname("b.test", 30));
        zone.set("b.test", DnsScript::cname("a.test", 30));

        assert!(records(&zone, "a.test", RecordType::A).addresses.is_empty());
    }

    #[test]
    fn other_family_has_no_records_and_an_soa() {
        let mut zone = Zone::default();
        zone.set(
            "a.test",
            DnsScript::addresses([[10, 0, 0, 1].into()]).soa(7, 9),
        );

        let records = records(&zone, "a.test", RecordType::Aaaa);

        assert!(records.exists && records.addresses.is_empty());
        assert_eq!(records.soa, Some(Soa { minimum: 7, ttl: 9 }));
    }

    #[test]
    fn type_has_its_own_script_until_the_name_is_set_anew() {
        let mut zone = Zone::default();
        zone.set("a.test", DnsScript::NoRecords);
        zone.set_type("a.test", RecordType::Aaaa, DnsScript::Silent);
        let reply = |zone: &Zone, t| zone.reply(&query("a.test", t));

        assert!(matches!(reply(&zone, RecordType::A), ZoneReply::Records(_)));
        assert_eq!(reply(&zone, RecordType::Aaaa), ZoneReply::Silent);
        zone.set("a.test", DnsScript::NoRecords);
        assert!(matches!(
            reply(&zone, RecordType::Aaaa),
            ZoneReply::Records(_)
        ));
    }

    #[test]
    fn unknown_name_does_not_exist_and_an_soa_says_so() {
        let records = records(&Zone::default(), "a.test", RecordType::A);
        assert!(!records.exists && records.soa.is_some());
    }

    fn records(zone: &Zone, name: &str, record_type: RecordType) -> Records {
        match zone.reply(&query(name, record_type)) {
            ZoneReply::Records(records) => records,
            other => panic!("{other:?}"),
        }
    }

    fn query(name: &str, record_type: RecordType) -> DnsQuery {
        DnsQuery {
            name: canonical(name),
            record_type,
            transport: QueryTransport::Udp,
            edns: true,
        }
    }
}
