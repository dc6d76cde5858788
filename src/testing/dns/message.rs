//! Parses queries and writes replies.

use std::net::IpAddr;

use hickory_proto::ProtoError;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, SOA};
use hickory_proto::rr::{self, Name, RData, Record};

use super::script::Soa;
use super::zone::{Records, ZoneFailure, ZoneReply, canonical};
use super::{DnsQuery, QueryTransport, RecordType};

/// A query as it arrived, kept until it is answered.
pub(super) struct IncomingQuery {
    message: Message,
    pub(super) query: DnsQuery,
}

/// Reads a query. Bytes that are not a query get no reply.
pub(super) fn read(bytes: &[u8], transport: QueryTransport) -> Option<IncomingQuery> {
    let message = Message::from_vec(bytes).ok()?;
    let question = message.queries.first()?;
    let query = DnsQuery {
        name: canonical(&question.name().to_ascii()),
        record_type: match question.query_type() {
            rr::RecordType::A => RecordType::A,
            rr::RecordType::AAAA => RecordType::Aaaa,
            _ => RecordType::Other,
        },
        transport,
        edns: message.edns.is_some(),
    };
    Some(IncomingQuery { message, query })
}

/// Writes the bytes of a reply; `None` if there is no reply.
pub(super) fn write(asked: &IncomingQuery, reply: &ZoneReply) -> Option<Vec<u8>> {
    let mut message = Message::response(asked.message.id, asked.message.op_code);
    message.metadata.recursion_desired = asked.message.recursion_desired;
    message.metadata.recursion_available = true;
    message.add_queries(asked.message.queries.iter().cloned());
    match reply {
        ZoneReply::Silent => return None,
        ZoneReply::Garbage => {
            let id = asked.message.id.to_be_bytes();
            return Some([&id[..], &[0xff; 30]].concat());
        }
        ZoneReply::Failed(ZoneFailure::FormErr) => {
            message.metadata.response_code = ResponseCode::FormErr;
            message.queries.clear();
        }
        ZoneReply::OtherQuestion => {
            message.queries.clear();
            let other = absolute("other.invalid").ok()?;
            message.add_query(hickory_proto::op::Query::query(other, rr::RecordType::A));
        }
        ZoneReply::Referral => {
            message.metadata.recursion_available = false;
            let (zone, server) = (absolute("invalid").ok()?, absolute("ns.invalid").ok()?);
            message.add_authority(Record::from_rdata(zone, 60, RData::NS(NS(server))));
        }
        ZoneReply::Truncated => message.metadata.truncation = true,
        ZoneReply::Failed(ZoneFailure::ServFail) => {
            message.metadata.response_code = ResponseCode::ServFail;
        }
        ZoneReply::Failed(ZoneFailure::Refused) => {
            message.metadata.response_code = ResponseCode::Refused;
        }
        ZoneReply::Records(records) => {
            if !records.exists {
                message.metadata.response_code = ResponseCode::NXDomain;
            }
            // If a script has a name that DNS cannot carry, the server does not reply.
            fill(&mut message, records).ok()?;
        }
    }
    message.to_vec().ok()
}

fn fill(message: &mut Message, records: &Records) -> Result<(), ProtoError> {
    for (from, to, ttl) in &records.aliases {
        let alias = RData::CNAME(CNAME(absolute(to)?));
        message.add_answer(Record::from_rdata(absolute(from)?, *ttl, alias));
    }
    for address in &records.addresses {
        let data = match address {
            IpAddr::V4(address) => RData::A(A(*address)),
            IpAddr::V6(address) => RData::AAAA(AAAA(*address)),
        };
        message.add_answer(Record::from_rdata(
            absolute(&records.owner)?,
            records.ttl,
            data,
        ));
    }
    if let Some(Soa { minimum, ttl }) = records.soa {
        let zone = absolute(&records.owner)?.base_name();
        let (server, contact) = (absolute("ns.invalid")?, absolute("hostmaster.invalid")?);
        let soa = SOA::new(server, contact, 1, 3_600, 600, 86_400, minimum);
        message.add_authority(Record::from_rdata(zone, ttl, RData::SOA(soa)));
    }
    Ok(())
}

fn absolute(name: &str) -> Result<Name, ProtoError> {
    let mut name = Name::from_ascii(name)?;
    name.set_fqdn(true);
    Ok(name)
}
