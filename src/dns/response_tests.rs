//! A table of responses and their meaning.

use hickory_resolver::proto::rr::Record;
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, NS, SOA};

use super::*;

#[test]
fn response_is_negative_only_with_authority() {
    let short = || alias("a.test", "b.test", 3);
    let alias = || alias("a.test", "b.test", 60);
    let rows: [(&str, Message, &str); 18] = [
        ("address", ok([four("a.test", 60)]), "addresses 60"),
        ("NXDOMAIN", code(ResponseCode::NXDomain), "not found -"),
        (
            "NXDOMAIN, SOA",
            soa(code(ResponseCode::NXDomain)),
            "not found 7",
        ),
        ("NXDOMAIN after an alias", nx(ok([alias()])), "not found -"),
        ("SOA", soa(ok([])), "no records 7"),
        ("AA", aa(ok([])), "no records -"),
        ("SOA after an alias", soa(ok([alias()])), "no records 7"),
        (
            "SOA after a short alias",
            soa(ok([short()])),
            "no records 3",
        ),
        (
            "NXDOMAIN, SOA after a short alias",
            soa(nx(ok([short()]))),
            "not found 3",
        ),
        ("AA and an alias", aa(ok([alias()])), "alias b.test."),
        ("alias without an end", ok([alias()]), "alias b.test."),
        (
            "empty",
            ok([]),
            "failed: the response has neither records nor an SOA",
        ),
        (
            "referral",
            ns(ok([])),
            "failed: the name server sent a referral: it does not resolve names for clients",
        ),
        ("SOA beside NS", soa(ns(ok([]))), "no records 7"),
        (
            "REFUSED",
            code(ResponseCode::Refused),
            "failed: the name server says: Query Refused",
        ),
        (
            "SERVFAIL",
            soa(code(ResponseCode::ServFail)),
            "failed: the name server says: Server Failure",
        ),
        (
            "another question",
            other(ok([four("a.test", 60)])),
            "failed: the response is to another question",
        ),
        (
            "records of another name and type",
            ok([four("c.test", 60), six("a.test", 60)]),
            "failed: the response has neither records nor an SOA",
        ),
    ];
    for (row, response, expected) in rows {
        assert_eq!(read(&response), expected, "{row}");
    }
}

#[test]
fn chain_has_the_least_ttl_in_whatever_order_it_comes() {
    for ttls in [[7, 300, 60], [300, 7, 60], [300, 60, 7]] {
        let response = ok([
            four("c.test", ttls[2]),
            alias("b.test", "C.test", ttls[1]),
            alias("A.test", "b.test", ttls[0]),
        ]);
        assert_eq!(read(&response), "addresses 7");
    }
}

#[test]
fn ttl_of_an_alias_counts_when_its_end_comes_in_another_response() {
    let mut chain = chain();
    assert!(matches!(
        chain.read(&ok([alias("a.test", "b.test", 7)])),
        Reading::Alias
    ));
    let mut end = ok([four("b.test", 60)]);
    assert!(matches!(chain.clone().read(&end), Reading::Failed(_)));
    end.queries = vec![chain.query()];
    assert_eq!(show(chain.read(&end), &chain), "addresses 7");
}

#[test]
fn chain_of_sixteen_aliases_is_followed_and_a_longer_one_is_not() {
    let response = |aliases: usize| {
        let name = |n: usize| match n {
            0 => "a.test".to_owned(),
            n => format!("{n}.test"),
        };
        let mut all: Vec<_> = (0..aliases)
            .map(|n| alias(&name(n), &name(n + 1), 60))
            .collect();
        all.push(four(&name(aliases), 60));
        ok(all)
    };
    assert_eq!(read(&response(16)), "addresses 60");
    let long = "failed: the chain of aliases is longer than 16";
    assert_eq!(read(&response(17)), long);
    let circle = ok([alias("a.test", "b.test", 60), alias("b.test", "a.test", 60)]);
    assert_eq!(read(&circle), long);
}

#[test]
fn chain_of_one_alias_in_each_response_has_the_same_bound() {
    let mut chain = chain();
    for aliases in 0..=16 {
        let target = format!("{aliases}.test");
        let mut response = ok([alias(&chain.owner.to_string(), &target, 60)]);
        response.queries = vec![chain.query()];
        let reading = chain.read(&response);
        assert_eq!(matches!(reading, Reading::Alias), aliases < 16, "{aliases}");
    }
}

fn read(response: &Message) -> String {
    let mut chain = chain();
    let reading = chain.read(response);
    show(reading, &chain)
}

fn show(reading: Reading, chain: &Chain) -> String {
    let cause = |failure: &LookupFailure| failure.cause.as_ref().unwrap().to_string();
    match reading {
        Reading::Alias => format!("alias {}", chain.owner),
        Reading::Failed(failure) => format!("failed: {}", cause(&failure)),
        Reading::Outcome(QueryOutcome::Addresses { ttl, .. }) => {
            format!("addresses {}", ttl.as_secs())
        }
        Reading::Outcome(QueryOutcome::Nothing { failure, ttl }) => {
            let ttl = ttl.map_or_else(|| "-".to_owned(), |ttl| ttl.as_secs().to_string());
            match failure.reason {
                DnsErrorReason::NotFound => format!("not found {ttl}"),
                DnsErrorReason::NoRecords => format!("no records {ttl}"),
                other => panic!("{other:?}"),
            }
        }
    }
}

fn chain() -> Chain {
    Chain::new(name("a.test"), Family::V4)
}

fn ok(answers: impl IntoIterator<Item = Record>) -> Message {
    let mut message = Message::query();
    message.add_query(chain().query());
    message.add_answers(answers);
    message
}

fn code(code: ResponseCode) -> Message {
    let mut message = ok([]);
    message.metadata.response_code = code;
    message
}

fn nx(mut message: Message) -> Message {
    message.metadata.response_code = ResponseCode::NXDomain;
    message
}

fn aa(mut message: Message) -> Message {
    message.metadata.authoritative = true;
    message
}

fn soa(mut message: Message) -> Message {
    let soa = SOA::new(name("ns.test"), name("post.test"), 1, 2, 3, 4, 7);
    message.add_authority(Record::from_rdata(name("test"), 9, RData::SOA(soa)));
    message
}

fn ns(mut message: Message) -> Message {
    let ns = RData::NS(NS(name("ns.test")));
    message.add_authority(Record::from_rdata(name("test"), 9, ns));
    message
}

fn other(mut message: Message) -> Message {
    message.queries = vec![Query::query(name("b.test"), RecordType::A)];
    message
}

fn alias(from: &str, to: &str, ttl: u32) -> Record {
    Record::from_rdata(name(from), ttl, RData::CNAME(CNAME(name(to))))
}

fn four(owner: &str, ttl: u32) -> Record {
    Record::from_rdata(name(owner), ttl, RData::A(A::new(10, 0, 0, 1)))
}

fn six(owner: &str, ttl: u32) -> Record {
    let address = RData::AAAA(AAAA::new(0, 0, 0, 0, 0, 0, 0, 1));
    Record::from_rdata(name(owner), ttl, address)
}

fn name(text: &str) -> Name {
    let mut name = Name::from_ascii(text).unwrap();
    name.set_fqdn(true);
    name
}
