//! Real handshakes over real sockets: who is believed, who is not, and what the operator reads.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rcgen::KeyPair;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::testing::{Ca, Issued, serve, serve_with, validity};
use super::*;
use crate::keys::{CardId, CardKind, KeyRef, testing as keys};

const DEADLINE: Duration = Duration::from_secs(10);
const BOTH: &[&rustls::SupportedProtocolVersion] = &[&TLS13, &TLS12];

fn trust(anchor: &Ca, identity: Option<&Issued>) -> Trust {
    let identity = identity.map(Issued::identity);
    Trust::new(Authority::server("example"), &[anchor.der()], identity).unwrap()
}

async fn dial(address: SocketAddr, name: &str, trust: &Trust) -> Result<Channel, CertificateError> {
    let stream = TcpStream::connect(address).await.unwrap();
    connect(stream, name, trust, DEADLINE).await
}

/// Handshake, then a line there and back: in TLS 1.3 a client learns of a refused certificate only then.
async fn talk(address: SocketAddr, name: &str, trust: &Trust) -> Result<Channel, String> {
    let mut channel = dial(address, name, trust)
        .await
        .map_err(|e| e.to_string())?;
    let mut answer = [0; 3];
    async {
        channel.write_all(b"hello\n").await?;
        channel.flush().await?;
        channel.read_exact(&mut answer).await
    }
    .await
    .map_err(|e| e.to_string())?;
    assert_eq!(&answer, b"ok\n");
    Ok(channel)
}

#[tokio::test]
async fn a_server_of_the_authority_is_believed_in_both_versions() {
    let ca = Ca::new("CA");
    let trust = trust(&ca, None);
    for (versions, expected) in [
        (
            &[&TLS13][..],
            "TLS 1.3 X25519MLKEM768 TLS13_AES_256_GCM_SHA384",
        ),
        (
            &[&TLS12][..],
            "TLS 1.2 X25519 TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        ),
        (BOTH, "TLS 1.3 X25519MLKEM768 TLS13_AES_256_GCM_SHA384"),
    ] {
        let address = serve(&ca.server("dm.example"), None, versions).await;
        let channel = talk(address, "dm.example", &trust).await.unwrap();
        assert_eq!(channel.authority(), &Authority::server("example"));
        assert_eq!(channel.description(), expected);
        assert!(!channel.is_mutual());
    }
}

#[tokio::test]
async fn a_server_without_post_quantum_groups_still_connects() {
    let ca = Ca::new("CA");
    let mut classical = rustls::crypto::aws_lc_rs::default_provider();
    classical
        .kx_groups
        .retain(|group| group.name() == rustls::NamedGroup::secp256r1);
    let address = serve_with(classical, &ca.server("dm.example"), None, &[&TLS13]).await;
    let channel = talk(address, "dm.example", &trust(&ca, None))
        .await
        .unwrap();
    assert!(
        channel.description().starts_with("TLS 1.3 secp256r1 "),
        "{channel:?}"
    );
}

#[tokio::test]
async fn the_device_shows_its_certificate_when_it_is_asked() {
    let (ca, devices) = (Ca::new("CA"), Ca::new("devices"));
    let trust = trust(&ca, Some(&devices.client("device-1")));
    for versions in [&[&TLS13][..], &[&TLS12][..]] {
        let address = serve(&ca.server("dm.example"), Some(&devices), versions).await;
        assert!(
            talk(address, "dm.example", &trust)
                .await
                .unwrap()
                .is_mutual()
        );
        let address = serve(&ca.server("dm.example"), None, versions).await;
        assert!(
            !talk(address, "dm.example", &trust)
                .await
                .unwrap()
                .is_mutual()
        );
    }
}

/// As openssl makes them: keys of each kind that signs in TLS.
#[tokio::test]
async fn keys_of_every_kind_sign_in_both_versions() {
    let (ca, devices) = (Ca::new("CA"), Ca::new("devices"));
    for key in [
        KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
        KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
        KeyPair::generate_for(&rcgen::PKCS_ED25519),
        KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048),
    ] {
        let issued = devices.client_with("device", key.unwrap());
        let trust = trust(&ca, Some(&issued));
        for versions in [&[&TLS13][..], &[&TLS12][..]] {
            let address = serve(&ca.server("dm.example"), Some(&devices), versions).await;
            let channel = talk(address, "dm.example", &trust).await.unwrap();
            assert!(channel.is_mutual());
        }
    }
}

#[tokio::test]
async fn a_key_that_does_not_sign_is_explained_and_not_the_alert() {
    let (ca, devices) = (Ca::new("CA"), Ca::new("devices"));
    let issued = devices.client("device");
    let (signer, public) = keys::signer(&issued.key_pem);
    let on_a_card = KeyRef::Card {
        card: CardId {
            kind: CardKind::Pkcs15,
            serial: "8944".into(),
        },
        key: "45".into(),
    };
    let authority = || Authority::server("example");
    let with = |signer| {
        let identity = Identity::new(&issued.chain_der, on_a_card.clone(), &public, signer);
        Trust::new(authority(), &[ca.der()], Some(identity.unwrap())).unwrap()
    };
    let gone = with(signer);
    for versions in [&[&TLS13][..], &[&TLS12][..]] {
        let address = serve(&ca.server("dm.example"), Some(&devices), versions).await;
        let error = dial(address, "dm.example", &gone).await.unwrap_err();
        assert!(
            error.to_string().contains("card 8944 is not there"),
            "{error}"
        );
    }
    // A server that does not ask is none the wiser.
    let address = serve(&ca.server("dm.example"), None, BOTH).await;
    talk(address, "dm.example", &gone).await.unwrap();
}

/// The test's one runtime thread goes on while a card takes its time.
#[tokio::test]
async fn a_signature_that_does_not_come_keeps_nobody_else() {
    let (ca, devices) = (Ca::new("CA"), Ca::new("devices"));
    let issued = devices.client("device");
    let (_, public) = keys::signer(&issued.key_pem);
    let key = KeyRef::File("key".into());
    let identity = Identity::new(&issued.chain_der, key, &public, keys::mute()).unwrap();
    let mute = Trust::new(Authority::server("mute"), &[ca.der()], Some(identity)).unwrap();
    let well = trust(&ca, Some(&issued));
    let address = serve(&ca.server("dm.example"), Some(&devices), BOTH).await;
    let stream = TcpStream::connect(address).await.unwrap();
    let waits = connect(stream, "dm.example", &mute, Duration::from_secs(2));
    let others = async {
        for _ in 0..3 {
            talk(address, "dm.example", &well).await.unwrap();
        }
        Instant::now()
    };
    let waits = async { (waits.await.unwrap_err(), Instant::now()) };
    let ((error, gave_up), others_done) = tokio::join!(waits, others);
    assert!(
        error.to_string().contains("did not sign in time"),
        "{error}"
    );
    assert!(others_done < gave_up);
}

#[tokio::test]
async fn an_address_can_be_the_name() {
    let ca = Ca::new("CA");
    let address = serve(&ca.server("127.0.0.1"), None, BOTH).await;
    talk(address, "127.0.0.1", &trust(&ca, None)).await.unwrap();
}

#[tokio::test]
async fn who_is_not_believed_and_why() {
    let (ours, other, devices) = (Ca::new("ours"), Ca::new("other"), Ca::new("devices"));
    let expired = ours.issue("dm.example", |params| validity(params, 2001, 2002));
    let future = ours.issue("dm.example", |params| validity(params, 2090, 2091));
    let wrong_purpose = ours.client("dm.example");
    let alien = devices.client("device-1");
    let wants = Some(&devices);
    let ok = ours.server("dm.example");
    type Row<'a> = (
        &'a str,
        &'a Issued,
        Option<&'a Ca>,
        Option<&'a Issued>,
        &'a str,
    );
    let rows: [Row<'_>; 8] = [
        (
            "dm.example",
            &other.server("dm.example"),
            None,
            None,
            "not issued under an anchor",
        ),
        (
            "elsewhere.example",
            &ok,
            None,
            None,
            "certificate for dm.example instead",
        ),
        ("dm.example", &expired, None, None, "has expired"),
        ("dm.example", &future, None, None, "is not valid yet"),
        (
            "dm.example",
            &wrong_purpose,
            None,
            None,
            "is not acceptable",
        ),
        (
            "dm.example",
            &ok,
            wants,
            None,
            "demands a client certificate",
        ),
        (
            "dm.example",
            &ok,
            Some(&other),
            Some(&alien),
            "refused the device's certificate",
        ),
        (
            "not a name",
            &ok,
            None,
            None,
            "neither a DNS name nor an IP address",
        ),
    ];
    for (name, server, clients, identity, expected) in rows {
        let trust = trust(&ours, identity);
        for versions in [&[&TLS13][..], &[&TLS12][..]] {
            let address = serve(server, clients, versions).await;
            let error = talk(address, name, &trust).await.unwrap_err();
            assert!(
                error.contains(expected),
                "{expected:?} is not what {versions:?} says: {error}"
            );
        }
    }
}

#[tokio::test]
async fn one_authority_does_not_speak_for_another() {
    let (a, b) = (Ca::new("A"), Ca::new("B"));
    let server_of_b = serve(&b.server("dm.example"), None, BOTH).await;
    talk(server_of_b, "dm.example", &trust(&b, None))
        .await
        .unwrap();
    let error = dial(server_of_b, "dm.example", &trust(&a, None))
        .await
        .unwrap_err();
    assert!(
        matches!(error, CertificateError::UnknownIssuer { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn nothing_is_resumed() {
    let ca = Ca::new("CA");
    let trust = trust(&ca, None);
    let address = serve(&ca.server("dm.example"), None, BOTH).await;
    for _ in 0..2 {
        let channel = talk(address, "dm.example", &trust).await.unwrap();
        let kind = channel.stream.get_ref().1.handshake_kind();
        assert_eq!(kind, Some(rustls::HandshakeKind::Full));
    }
}

#[tokio::test]
async fn a_silent_server_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let trust = trust(&Ca::new("CA"), None);
    let begun = Instant::now();
    let error = connect(stream, "dm.example", &trust, Duration::from_millis(50))
        .await
        .unwrap_err();
    assert!(
        matches!(error, CertificateError::TimedOut { milliseconds: 50 }),
        "{error}"
    );
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn what_is_not_tls_is_named() {
    let trust = trust(&Ca::new("CA"), None);
    for (bytes, expected) in [
        (
            &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
            "does not speak TLS",
        ),
        (&b""[..], "closed the connection"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut hello = [0; 4096];
            let _read = stream.read(&mut hello).await;
            let _written = stream.write_all(bytes).await;
        });
        let error = dial(address, "dm.example", &trust)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn unusable_anchors_and_identities_are_refused_before_any_connection() {
    let ca = Ca::new("CA");
    let authority = || Authority::server("example");
    let refused = |anchors: &[Vec<u8>]| Trust::new(authority(), anchors, None).unwrap_err();
    assert!(matches!(refused(&[]), CertificateError::NoAnchors));
    let error = refused(&[ca.der(), b"not a certificate".to_vec()]);
    assert!(
        matches!(error, CertificateError::Anchor { index: 1, .. }),
        "{error}"
    );
    let error = refused(&vec![ca.der(); 65]);
    assert!(
        matches!(error, CertificateError::TooManyAnchors { limit: 64 }),
        "{error}"
    );

    let (one, two) = (ca.client("one"), ca.client("two"));
    let pair = |chain: &[Vec<u8>], key: &[u8]| check_pair(chain, key).unwrap_err();
    let error = pair(&one.chain_der, two.key_pem.as_bytes());
    assert!(matches!(error, CertificateError::KeyMismatch), "{error}");
    let error = pair(&one.chain_der, b"-----BEGIN PRIVATE KEY-----\nAAAA\n");
    assert!(matches!(error, CertificateError::Key), "{error}");
    let (signer, public) = keys::signer(&two.key_pem);
    let key = KeyRef::File("key".into());
    let error = Identity::new(&one.chain_der, key, &public, signer).unwrap_err();
    assert!(matches!(error, CertificateError::KeyMismatch), "{error}");
    let error = pair(&[], one.key_pem.as_bytes());
    assert!(matches!(error, CertificateError::Chain { .. }), "{error}");
}

#[test]
fn certificates_and_keys_are_read_in_pem_and_der() {
    let issued = Ca::new("CA").client("device-1");
    let der = &issued.chain_der[0];
    assert_eq!(certificates(der).unwrap(), issued.chain_der);
    assert_eq!(
        certificates(issued.certificate_pem.as_bytes()).unwrap(),
        issued.chain_der
    );
    let two = issued.certificate_pem.repeat(2);
    assert_eq!(
        certificates(two.as_bytes()).unwrap(),
        [der.clone(), der.clone()]
    );
    for damaged in [
        &b""[..],
        b"-----BEGIN CERTIFICATE-----\n",
        &der[..der.len() - 1],
    ] {
        certificates(damaged).unwrap_err();
    }
    certificates(issued.certificate_pem.repeat(11).as_bytes()).unwrap_err();

    let from_der = private_key_pem(&issued.key_der).unwrap();
    assert_eq!(private_key_pem(from_der.as_bytes()).unwrap(), from_der);
    check_pair(&issued.chain_der, from_der.as_bytes()).unwrap();
    assert_eq!(
        from_der.replace("\r\n", "\n"),
        issued.key_pem.replace("\r\n", "\n")
    );
    private_key_pem(b"no key").unwrap_err();
}

#[test]
fn nothing_secret_shows() {
    let issued = Ca::new("CA").client("device-1");
    let identity = issued.identity();
    assert_eq!(
        format!("{identity:?}"),
        format!("Identity({})", identity.id())
    );
    let secret = "c2VjcmV0";
    let error = private_key_pem(format!("-----BEGIN PRIVATE KEY-----\n{secret}").as_bytes());
    assert!(!format!("{:?}", error.unwrap_err()).contains(secret));
}
