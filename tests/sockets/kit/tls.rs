use std::io::ErrorKind;

use rustls::{AlertDescription, CertificateError, Error};
use sevenhops::testing::{ConnFault, FaultServer, TestCa};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::client::{
    GET, body, connect, http2, post, read_to_end, read_until, shake_hands, tls_error, tls_server,
};

#[tokio::test]
async fn a_good_certificate_is_trusted() {
    let (authority, server) = tls_server().await;

    let mut client = shake_hands(&server, authority.client_config())
        .await
        .unwrap();
    client.write_all(GET.as_bytes()).await.unwrap();

    read_until(&mut client, r#"{"ok":true}"#).await;
    assert!(server.url("/").starts_with("https://127.0.0.1:"));
    assert_eq!(server.stats().handshakes, 1);
}

#[tokio::test]
async fn an_address_can_be_certified() {
    let authority = TestCa::new().unwrap();
    let identity = authority.issue(&["127.0.0.1"]).unwrap();
    let server = FaultServer::builder().tls(identity).start().await.unwrap();
    let connector =
        tokio_rustls::TlsConnector::from(std::sync::Arc::new(authority.client_config()));

    let name = server.addr().ip().into();

    assert!(
        connector
            .connect(name, connect(&server).await)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn wrong_certificates_have_different_errors() {
    let (authority, server) = tls_server().await;
    let stranger = TestCa::new().unwrap();
    server.on_connection([
        ConnFault::WrongCertificate(stranger.issue(&["api.test"]).unwrap()),
        ConnFault::WrongCertificate(authority.issue(&["other.test"]).unwrap()),
        ConnFault::WrongCertificate(authority.issue_expired(&["api.test"]).unwrap()),
    ]);

    let mut reasons = Vec::new();
    for _ in 0..3 {
        let error = shake_hands(&server, authority.client_config())
            .await
            .unwrap_err();
        let Error::InvalidCertificate(reason) = tls_error(&error).clone() else {
            panic!("{error}")
        };
        reasons.push(reason);
    }

    use CertificateError::{ExpiredContext, NotValidForNameContext, UnknownIssuer};
    assert_eq!(reasons[0], UnknownIssuer);
    assert!(matches!(reasons[1], NotValidForNameContext { .. }));
    assert!(matches!(reasons[2], ExpiredContext { .. }));
    assert!(
        shake_hands(&server, authority.client_config())
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_fatal_alert_comes_first() {
    let (authority, server) = tls_server().await;
    server.on_connection([ConnFault::TlsAlert]);

    let error = shake_hands(&server, authority.client_config())
        .await
        .unwrap_err();

    let expected = Error::AlertReceived(AlertDescription::HandshakeFailure);
    assert_eq!(tls_error(&error), &expected);
}

#[tokio::test]
async fn plain_http_is_not_a_handshake() {
    let (authority, server) = tls_server().await;
    server.on_connection([ConnFault::PlainHttp, ConnFault::PlainHttp]);

    let error = shake_hands(&server, authority.client_config())
        .await
        .unwrap_err();
    assert!(matches!(tls_error(&error), Error::InvalidMessage(_)));

    let mut raw = connect(&server).await;
    raw.write_all(GET.as_bytes()).await.unwrap();
    let answer = read_to_end(&mut raw).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"));
    assert_eq!(answer.split("\r\n\r\n").nth(1).unwrap().len(), 24);
}

#[tokio::test]
async fn a_connection_closes_after_its_handshake() {
    let (authority, server) = tls_server().await;
    server.on_connection([ConnFault::CloseAfterHandshake]);

    let mut client = shake_hands(&server, authority.client_config())
        .await
        .unwrap();

    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_reset_is_visible_through_tls() {
    let (authority, server) = tls_server().await;
    server.on_request([sevenhops::testing::Reply::ResetAfterRequest]);

    let mut client = shake_hands(&server, authority.client_config())
        .await
        .unwrap();
    client.write_all(GET.as_bytes()).await.unwrap();

    let error = read_to_end(&mut client).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_missing_client_certificate_is_reported_after_the_handshake() {
    let authority = TestCa::new().unwrap();
    let identity = authority.issue(&["api.test"]).unwrap();
    let config = identity.server_config_with_client_auth(&authority, &[]);
    let server = FaultServer::builder()
        .tls_config(config)
        .start()
        .await
        .unwrap();

    let mut client = shake_hands(&server, authority.client_config())
        .await
        .unwrap();
    let error = client.read(&mut [0]).await.unwrap_err();
    let expected = Error::AlertReceived(AlertDescription::CertificateRequired);
    assert_eq!(tls_error(&error), &expected);

    let known = authority.client_config_as(&identity);
    let mut client = shake_hands(&server, known).await.unwrap();
    client.write_all(GET.as_bytes()).await.unwrap();
    read_until(&mut client, r#"{"ok":true}"#).await;
}

#[tokio::test]
async fn http2_is_negotiated_by_alpn() {
    let authority = TestCa::new().unwrap();
    let identity = authority.issue(&["api.test"]).unwrap();
    let builder = FaultServer::builder().tls(identity).http2();
    let server = builder.start().await.unwrap();
    let mut config = authority.client_config();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];

    let client = shake_hands(&server, config).await.unwrap();
    assert_eq!(client.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let response = post(&http2(client).await, b"body").await.await.unwrap();

    assert_eq!(body(response).await.unwrap(), r#"{"ok":true}"#);
}
