//! Checks when a query goes over TCP.

use std::net::Ipv4Addr;

use hickory_resolver::proto::op::{Message, MessageType, OpCode, Query};
use hickory_resolver::proto::rr::rdata::A;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

use super::*;

const MACHINE: Ipv4Addr = Ipv4Addr::LOCALHOST;

fn query() -> Message {
    let mut query = Message::new(7, MessageType::Query, OpCode::Query);
    let name = Name::from_ascii("api.test.").unwrap();
    query.add_query(Query::query(name, RecordType::A));
    query
}

fn response(query: &Message) -> Message {
    let mut response = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
    response.add_queries(query.queries.iter().cloned());
    let name = query.queries[0].name().clone();
    response.add_answer(Record::from_rdata(name, 60, RData::A(A(MACHINE))));
    response
}

/// Sends this datagram in response to one query, and the whole response over TCP.
async fn over(datagram: Vec<u8>) -> Result<Message, LookupFailure> {
    let listener = TcpListener::bind((MACHINE, 0)).await.unwrap();
    let server = listener.local_addr().unwrap();
    let socket = UdpSocket::bind(server).await.unwrap();
    let query = query();
    let whole = response(&query).to_vec().unwrap();
    let udp = async {
        let (_, client) = socket.recv_from(&mut [0; DATAGRAM]).await.unwrap();
        socket.send_to(&datagram, client).await.unwrap();
        std::future::pending::<()>().await;
    };
    let tcp = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let length = stream.read_u16().await.unwrap();
        stream
            .read_exact(&mut vec![0; length.into()])
            .await
            .unwrap();
        let length = u16::try_from(whole.len()).unwrap();
        stream.write_u16(length).await.unwrap();
        stream.write_all(&whole).await.unwrap();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        received = over_udp(server, &query) => received,
        () = udp => unreachable!(),
        () = tcp => unreachable!(),
    }
}

#[tokio::test]
async fn response_that_is_cut_inside_a_record_is_requested_over_tcp() {
    let mut cut = response(&query());
    cut.metadata.truncation = true;
    let mut cut = cut.to_vec().unwrap();
    for length in [cut.len(), cut.len() - 2, HEADER] {
        cut.truncate(length);
        let received = over(cut.clone()).await.unwrap();
        assert_eq!(received.answers.len(), 1, "{length} bytes");
    }
}

#[tokio::test]
async fn garbled_datagram_is_not_requested_over_tcp() {
    let mut query = query();
    query.metadata.truncation = true;
    let mut response = response(&query).to_vec().unwrap();
    response.pop();
    for datagram in [query.to_vec().unwrap(), response] {
        let failed = over(datagram).await.unwrap_err();
        assert_eq!(failed.reason, DnsErrorReason::Protocol);
    }
}
