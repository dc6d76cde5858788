use std::io::ErrorKind;
use std::time::Duration;

use sevenhops::testing::{BlackHole, ClosedPort};
use tokio::net::TcpStream;
use tokio::time::timeout;

#[tokio::test]
async fn a_closed_port_refuses_and_stays_reserved() {
    let port = ClosedPort::new().unwrap();

    let error = TcpStream::connect(port.addr()).await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    let taken = ClosedPort::at(port.addr()).unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AddrInUse);
}

#[tokio::test]
async fn a_black_hole_drops_every_connect() {
    let hole = BlackHole::start().await.unwrap();

    for _ in 0..3 {
        let connect = timeout(Duration::from_millis(50), TcpStream::connect(hole.addr()));
        assert!(connect.await.is_err());
    }
}

#[tokio::test]
async fn a_black_hole_opens_on_the_configured_address() {
    let port = ClosedPort::new().unwrap().addr().port();
    let addr = ([127, 0, 0, 2], port).into();

    let hole = BlackHole::start_at(addr).await.unwrap();

    assert_eq!(hole.addr(), addr);
}
