//! The readers of messages and files, for the fuzz targets.

use hickory_resolver::proto::op::Message;
use hickory_resolver::proto::rr::Name;

use super::Family;
use super::hosts::Hosts;
use super::malformed::Malformed;
use super::nsswitch::HostsOrder;
use super::response::{Chain, Reading};

/// Reads the same response to each query of a chain.
pub(crate) fn response(data: &[u8]) {
    let Ok(message) = Message::from_vec(data) else {
        return;
    };
    let Some(first) = message.queries.first() else {
        return;
    };
    for family in [Family::V4, Family::V6] {
        let name: Name = first.name().clone();
        let mut chain = Chain::new(name, family);
        let mut asked = 0;
        while let Reading::Alias = chain.read(&message) {
            asked += 1;
            assert!(asked <= 32, "the chain does not end");
        }
    }
}

pub(crate) fn files(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut malformed = Malformed::default();
    let hosts = Hosts::parse(&text, &mut malformed);
    let _ = hosts.find("api.test");
    let _ = HostsOrder::parse(&text, &mut malformed);
}
