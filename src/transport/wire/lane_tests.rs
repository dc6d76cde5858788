use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use super::lane::{Gate, Lane};
use super::socket::Socket;
use crate::clock;
use crate::record::Tracker;
use crate::telemetry::AttemptSpans;
use crate::timeout::Timeouts;

/// Returns a lane, its gate, and the other end.
async fn lane() -> (Arc<Lane>, Gate<Socket>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).await;
    let (theirs, _) = listener.accept().await.unwrap();
    let socket = Socket::new(ours.unwrap()).unwrap();
    let lane = Arc::new(Lane::new(socket.clone()));
    (Arc::clone(&lane), Gate::new(socket, lane), theirs)
}

fn attempt() -> Arc<Tracker> {
    let timeouts = Timeouts::new(std::time::Duration::from_secs(10)).unwrap();
    let tracker = Tracker::new(timeouts, AttemptSpans::default(), clock::now());
    tracker.begin();
    tracker.pooled();
    Arc::new(tracker)
}

#[tokio::test]
async fn dropped_call_shuts_the_lane_only_for_its_own_request() {
    let (lane, mut gate, _theirs) = lane().await;
    let first = lane.arm(&attempt(), true);
    gate.write_all(b"GET").await.unwrap();
    gate.flush().await.unwrap();
    assert!(!lane.abandon(first), "it is sent");
    let second = lane.arm(&attempt(), true);
    assert!(!lane.abandon(first));
    gate.write_all(b"GET").await.unwrap();
    assert!(lane.abandon(second));
}

#[tokio::test]
async fn nothing_of_a_request_is_sent_once_its_call_was_dropped() {
    let (lane, mut gate, _theirs) = lane().await;
    let attempt = attempt();
    let request = lane.arm(&attempt, true);
    lane.abandon(request);
    gate.write_all(b"POST").await.unwrap_err();
    assert!(!attempt.is_taken());
    assert!(!lane.shut(), "not a byte went out");
}

#[tokio::test]
async fn request_that_is_written_in_part_may_have_gone_out() {
    let (lane, mut gate, _theirs) = lane().await;
    let request = lane.arm(&attempt(), false);
    gate.write_all(b"POST").await.unwrap();
    gate.flush().await.unwrap();
    assert!(lane.abandon(request), "its body is not over");
    gate.write_all(b"amount").await.unwrap_err();
    assert!(lane.shut());
}
