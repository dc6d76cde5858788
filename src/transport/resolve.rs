//! Finds the addresses of a host, by DNS or in the URL, and applies the filter.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::balance::ResolvedAddresses;
use super::target::Dial;
use crate::box_error::BoxError;
use crate::clock;
use crate::diagnose::diagnose;
use crate::dns::{self, AddressDenied, AddressFilter, Answer, Resolution, Resolve};
use crate::error::Error;
use crate::hop::{Diagnosis, Hop, Kind, Stage, TimeoutElapsed};
use crate::record::tracker::Tracker;
use crate::timeout::TimeoutKind;

/// Returns the addresses to dial that the filter permits.
pub(super) async fn lookup(
    resolver: &dyn Resolve,
    dial: &Dial,
    filter: &AddressFilter,
    tracker: &Tracker,
) -> Result<Answer, Error> {
    filter_literal(filter, dial, tracker)?;
    let name = match dial {
        Dial::Address(address) => return Ok(Answer::literal(*address)),
        Dial::Name(name) => name,
    };
    let limit = tracker.timeouts().dns();
    let (answer, is_remembered) = match resolver.resolve_within(name, limit) {
        Resolution::Cached(answer) => {
            let answer = answer.map_err(|error| {
                tracker.enter(Stage::Dns);
                tracker.spans().asking(name);
                tracker.facts(|facts| facts.dns_remembered = true);
                BoxError::from(error)
            });
            (answer, true)
        }
        Resolution::Pending(asking) => {
            tracker.enter(Stage::Dns);
            tracker.spans().asking(name);
            tracker.facts(|facts| facts.dns_remembered = false);
            let answer = match Box::pin(tokio::time::timeout(limit, asking)).await {
                Ok(answer) => answer.map_err(BoxError::from),
                Err(_) => Err(BoxError::from(TimeoutElapsed(TimeoutKind::Dns))),
            };
            (answer, false)
        }
    };
    match answer {
        Ok(answer) => {
            let answer = filter.retain(&answer);
            let answer = answer.map_err(|no| filtered(no, is_remembered, tracker))?;
            tracker.spans().answers(answer.addresses());
            tracker.resolved();
            if answer.is_stale() {
                tracker.spans().stale_dns();
            }
            tracker.facts(|facts| {
                // If a connector looks the name up again, it finds it cached: that is not recorded again.
                if facts.dns.is_none() || !answer.is_cached() {
                    facts.dns = Some((answer.ttl(), answer.is_cached()));
                    facts.stale = answer.is_stale();
                }
            });
            Ok(answer)
        }
        Err(error) => Err(failed(error, tracker)),
    }
}

/// Returns the part of a DNS answer that the choice of an address needs.
pub(super) fn given(answer: &Answer) -> ResolvedAddresses<'_> {
    ResolvedAddresses {
        addresses: answer.addresses(),
        generation: answer.generation(),
        ttl: answer.ttl().saturating_add(answer.age()),
        speaks_for: (
            answer.is_authoritative_for(ANY_V4),
            answer.is_authoritative_for(ANY_V6),
        ),
    }
}

/// Refuses an address in the URL if the filter refuses it.
pub(super) fn filter_literal(
    filter: &AddressFilter,
    dial: &Dial,
    tracker: &Tracker,
) -> Result<(), Error> {
    match dial {
        Dial::Address(address) => {
            let checked = filter.check(*address);
            checked.map_err(|no| filtered(no, true, tracker))
        }
        Dial::Name(_) => Ok(()),
    }
}

/// Returns the error of a lookup. A cached failure says how long its backoff still lasts.
fn failed(error: BoxError, tracker: &Tracker) -> Error {
    let again = error
        .downcast_ref::<dns::DnsError>()
        .and_then(|e| e.again());
    let wait = again.map(|again| again.saturating_duration_since(clock::now()));
    let failed = Error::new(diagnose(tracker, &*error)).because(error);
    match wait {
        Some(wait) if !wait.is_zero() => failed.after(wait),
        _ => failed,
    }
}

/// Returns the error of a refused address. If the address was remembered, no query was sent for it.
fn filtered(refused: AddressDenied, is_remembered: bool, tracker: &Tracker) -> Error {
    tracker.enter(Stage::Dns);
    tracker.facts(|facts| facts.dns_remembered = is_remembered);
    Error::new(Diagnosis::unsent(Hop::Dns, Kind::Filtered)).because(refused)
}

/// An arbitrary address of each family.
const ANY_V4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const ANY_V6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
