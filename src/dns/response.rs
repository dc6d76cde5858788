//! The meaning of one server's response to one query. Pure.
//!
//! | response | meaning |
//! |---|---|
//! | addresses at the end of the aliases | these, for the lowest TTL of the chain |
//! | NXDOMAIN | the name does not exist |
//! | NOERROR, no address, with an SOA; or with AA and no alias | the name has no address of this family |
//! | NOERROR, aliases whose end is not in it | the same server is queried for that end |
//! | a referral; neither address nor SOA; another question; any other code | this server failed: query the next one |
//!
//! A server that does not resolve for its clients responds NOERROR without records. If that counted as a result, it
//! would hide the servers that know the name.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use hickory_resolver::proto::op::{Message, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, RecordType};

use super::Family;
use super::error::{DnsErrorReason, LookupFailure};
use super::query::QueryOutcome;

/// The aliases of a name, followed through the responses of one server.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    owner: Name,
    family: Family,
    aliases: usize,
    ttl: u32,
}

/// The meaning of a response.
#[derive(Debug)]
pub(crate) enum Reading {
    /// The server has a result.
    Outcome(QueryOutcome),
    /// The name is an alias, and its end must be queried: [`Chain::query`] has changed.
    Alias,
    /// The server has no result; another one may have it.
    Failed(LookupFailure),
}

impl Chain {
    pub(crate) fn new(name: Name, family: Family) -> Self {
        Self {
            owner: name,
            family,
            aliases: 0,
            ttl: u32::MAX,
        }
    }

    /// Returns the query for the end of the chain.
    pub(crate) fn query(&self) -> Query {
        let record_type = match self.family {
            Family::V4 => RecordType::A,
            Family::V6 => RecordType::AAAA,
        };
        Query::query(self.owner.clone(), record_type)
    }

    /// Reads the response to [`query`](Self::query).
    pub(crate) fn read(&mut self, response: &Message) -> Reading {
        let code = response.metadata.response_code;
        if !matches!(code, ResponseCode::NoError | ResponseCode::NXDomain) {
            return failed(Unusable::Code(code));
        }
        if response.queries.as_slice() != [self.query()] {
            return failed(Unusable::OtherQuestion);
        }
        let before = self.aliases;
        self.follow(response);
        if self.aliases > ALIASES {
            return failed(Unusable::LongChain);
        }
        if let Some(outcome) = self.addresses(response) {
            return Reading::Outcome(outcome);
        }
        // A denial ends with the aliases that led to it: from then on the name may have another end.
        let chain_ttl = Duration::from_secs(self.ttl.into());
        let soa = soa(response).map(|ttl| ttl.min(chain_ttl));
        if code == ResponseCode::NXDomain {
            return negative(DnsErrorReason::NotFound, (code, soa));
        }
        let followed = self.aliases > before;
        // AA concerns only the first name of the chain (RFC 1035 §4.1.1).
        if soa.is_some() || (response.metadata.authoritative && !followed) {
            return negative(DnsErrorReason::NoRecords, (code, soa));
        }
        if followed {
            return Reading::Alias;
        }
        let is_ns = |record: &RData| matches!(record, RData::NS(_));
        match response.authorities.iter().any(|r| is_ns(&r.data)) {
            true => failed(Unusable::Referral),
            false => failed(Unusable::Empty),
        }
    }

    /// Follows the aliases of a response, up to one more than the bound. Other records are not read.
    fn follow(&mut self, response: &Message) {
        while self.aliases <= ALIASES {
            let alias = response
                .answers
                .iter()
                .find_map(|record| match &record.data {
                    RData::CNAME(target) if record.name == self.owner => {
                        Some((&target.0, record.ttl))
                    }
                    _ => None,
                });
            let Some((target, ttl)) = alias else {
                return;
            };
            self.owner = target.clone();
            self.owner.set_fqdn(true);
            self.ttl = self.ttl.min(ttl);
            self.aliases += 1;
        }
    }

    fn addresses(&self, response: &Message) -> Option<QueryOutcome> {
        let (mut addresses, mut ttl) = (Vec::new(), self.ttl);
        for record in response.answers.iter().filter(|r| r.name == self.owner) {
            let address = match (&record.data, self.family) {
                (RData::A(address), Family::V4) => IpAddr::V4(address.0),
                (RData::AAAA(address), Family::V6) => IpAddr::V6(address.0),
                _ => continue,
            };
            addresses.push(address);
            ttl = ttl.min(record.ttl);
        }
        let ttl = Duration::from_secs(ttl.into());
        (!addresses.is_empty()).then_some(QueryOutcome::Addresses { addresses, ttl })
    }
}

/// Returns the time for which the SOA guarantees a negative response: min(minimum, TTL), RFC 2308 §5.
fn soa(response: &Message) -> Option<Duration> {
    let ttl = response.authorities.iter().find_map(|r| match &r.data {
        RData::SOA(soa) => Some(r.ttl.min(soa.minimum)),
        _ => None,
    });
    ttl.map(|ttl| Duration::from_secs(ttl.into()))
}

fn negative(reason: DnsErrorReason, (code, ttl): (ResponseCode, Option<Duration>)) -> Reading {
    let failure = LookupFailure::because(reason, Negative(code));
    Reading::Outcome(QueryOutcome::Nothing { failure, ttl })
}

fn failed(why: Unusable) -> Reading {
    let reason = match why {
        Unusable::LongChain => DnsErrorReason::Protocol,
        _ => DnsErrorReason::ServerFailure,
    };
    Reading::Failed(LookupFailure::because(reason, why))
}

/// A server declares with authority that there is no record.
#[derive(Debug)]
struct Negative(ResponseCode);

impl fmt::Display for Negative {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ResponseCode::NXDomain => f.write_str("the name server responded NXDOMAIN"),
            _ => f.write_str("the name server has no record of this type"),
        }
    }
}

impl std::error::Error for Negative {}

/// The reason why a response does not end the walk over the servers.
#[derive(Debug)]
enum Unusable {
    Code(ResponseCode),
    OtherQuestion,
    LongChain,
    Referral,
    Empty,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "the name server says: {code}"),
            Self::OtherQuestion => f.write_str("the response is to another question"),
            Self::LongChain => write!(f, "the chain of aliases is longer than {ALIASES}"),
            Self::Referral => f.write_str(
                "the name server sent a referral: it does not resolve names for clients",
            ),
            Self::Empty => f.write_str("the response has neither records nor an SOA"),
        }
    }
}

impl std::error::Error for Unusable {}

/// Longer chains are loops or mistakes; resolvers allow 8 to 17.
const ALIASES: usize = 16;

#[cfg(test)]
mod messages {
    use hickory_resolver::proto::op::ResponseCode;

    use super::Unusable;

    crate::messages_tests::list!(Negative: super::Negative(ResponseCode::NXDomain), super::Negative(ResponseCode::NoError));
    crate::messages_tests::list!(Unusable: Unusable::Code(ResponseCode::ServFail), Unusable::OtherQuestion, Unusable::LongChain, Unusable::Referral, Unusable::Empty);
}

#[cfg(test)]
#[path = "response_tests.rs"]
mod tests;
