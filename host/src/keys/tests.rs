//! Keys in files, and a keys process that comes, goes, crashes and hangs.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, UnparsedPublicKey, VerificationAlgorithm,
};
use tokio::task::LocalSet;

use super::files::{Files, make_directory};
use super::*;
use crate::config::Config;

const KINDS: [KeyKind; 4] = [
    KeyKind::Rsa,
    KeyKind::EcP256,
    KeyKind::EcP384,
    KeyKind::Ed25519,
];

const SCHEMES: [(Scheme, &'static dyn VerificationAlgorithm); 9] = [
    (Scheme::RsaPkcs1Sha256, &RSA_PKCS1_2048_8192_SHA256),
    (Scheme::RsaPkcs1Sha384, &RSA_PKCS1_2048_8192_SHA384),
    (Scheme::RsaPkcs1Sha512, &RSA_PKCS1_2048_8192_SHA512),
    (Scheme::RsaPssSha256, &RSA_PSS_2048_8192_SHA256),
    (Scheme::RsaPssSha384, &RSA_PSS_2048_8192_SHA384),
    (Scheme::RsaPssSha512, &RSA_PSS_2048_8192_SHA512),
    (Scheme::EcdsaP256Sha256, &ECDSA_P256_SHA256_ASN1),
    (Scheme::EcdsaP384Sha384, &ECDSA_P384_SHA384_ASN1),
    (Scheme::Ed25519, &ED25519),
];

/// A state directory that goes with the test.
struct State(PathBuf);

impl State {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("bw-keys-{name}-{}", std::process::id()));
        let _old = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn directory(&self) -> PathBuf {
        self.0.join("keys")
    }

    fn files(&self) -> Files {
        make_directory(&self.directory()).unwrap();
        Files::in_directory(self.directory())
    }

    fn names(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(self.directory()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect()
    }

    fn config(&self, more: &str) -> Config {
        let text = format!(
            "state = {:?}\nadmin-socket = '/nowhere/admin.sock'\n{more}",
            self.0
        );
        toml::from_str(&text).unwrap()
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

/// Whether it is a signature over `message`.
fn verifies(scheme: Scheme, public: &[u8], signature: &[u8]) -> bool {
    let (_, algorithm) = SCHEMES.iter().find(|(known, _)| *known == scheme).unwrap();
    let key = UnparsedPublicKey::new(*algorithm, public);
    key.verify(b"message", signature).is_ok()
}

/// A key of nobody, PKCS#8.
const PKCS8: &str = "\
-----BEGIN PRIVATE KEY-----
MIG2AgEAMBAGByqGSM49AgEGBSuBBAAiBIGeMIGbAgEBBDC6cnnjuJk5da0sM5/b
EtrnrSQikm9jDVAG8XSYojv3KTDH7XdmXD7eG+O3iE1F65mhZANiAAQNz9rhChUQ
J5UlNx34g2dWuG1rovFB3x+XRYd9095QvteLuNzI6hWWzVI9nrLmp9ftss61YLtM
/mpXyf8Q2BCgzQu79OQ3hc0pO2h4QLuRkhRI7q/8ps8PKyKvxf6AfC8=
-----END PRIVATE KEY-----
";

/// A key of nobody, SEC 1.
const SEC1: &str = "\
-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIOEIshj7NaeZISpLv6RaHYTnUsC6ByMkUDLRksVJVS9uoAoGCCqGSM49
AwEHoUQDQgAE/Lx7Pcfiv1WuCQ3i2ugW2PdH2vDtQZgVz2CQhZqBtrJM9S3co2sZ
HMeDwkRmkOnSiRouNh2NsxZbzxkvGqmIAA==
-----END EC PRIVATE KEY-----
";

/// A key of nobody, PKCS#1.
const PKCS1: &str = "\
-----BEGIN RSA PRIVATE KEY-----
MIIEpAIBAAKCAQEAqL/kU/ddnxmWFrNNY2xV1d73934URvocyKFwuuFepBTlYi8l
NJ2bzISSX6eoyiQ4y8Vws/PRy49foAP5PYyYpnuxXROEytYdZ4MXGSkhGM2Utk1F
GKQCdcTFZo/9EE+LUbRb0lT2S/iW8RQobNGN4gR267VVPe8YDeyAeS5lyaUJDAxz
R1jcjpoFlMg2umXoMoELqvHopgI87ThMjWyqrSuZfRB/GoTEIkz6nNFkZpY0WUFG
GGZZt7Oj3CbnfygoZbzSTLyfBANAdgIuJYwhpDTIMIo/b4MMuZSzE4p9Drcvp7GB
jfuNXfD97Tj9ww70sQIXQ4rcbxV8PErGfr7UUQIDAQABAoIBABZKFm4y19ZqikUg
VOIDjsjrpSQ3LpV7du7XSC0fFKGmsu/Hm2n6QXh/sFfbLPPaWfgscakLVRRGsVJR
BAxptEYVQ4WwTNN/+a1RBu2HXbxJd1GnHi/Vhg+pOIvGDB6p6xSVNqWvHENHqCRa
zcYl3dBTV6PltUczfCFmskePZdl+8Kz1SZpBTr59K+7E9q8IytOIaeX5qoIiJaga
Cy89hnw5asly7B//irHcocSuOeQsQI52OqmaEv5MCo1IhoGTZOUNCBv2GTqTLX2m
Rcrtx7bz4kFQ1xHMZSU7qqKQDRsoPoM5L8QbXJB3QYUb35eHyexI1y5okh0kMjBb
7Wg5efMCgYEA0MOqw06mcy8Gm4IA5dpStYbrn72fmuwfnr5G3+9yMSMN8rx/pW3/
VXciAsbvVwBeCzfFH5ZV8Xm0b/DY//EbEyfv/2ao79DwKDF7Cw8okQAi31dNAcxF
lafSEriawvYLAurhUhjB9nFVCD4JRIOQseLyYR46gKcG6WDKNgI3GkcCgYEAzu5v
mYn6SgglMpD4ZNod4MH+N1HWt8gICL4suYsTMPWpVv9UImlTej/WU23YRrrWtdkr
j1XJPJEB+O0INPHg098fsqZAe2lrA4rBnqNcq5M9a5myz+6UKRTIQ5PUZXd1fS1v
ysCtVXRTYzou8uORjw6gZi/3spKI/yrfhBN10KcCgYBlUPDJBJynfgUY54kEBGbr
jmVAC0kwaLQX2ISRHaYvzrFwQqc4ZB/tHHo3GtEBSj5Z92EFqXJgVQ6K3TqTTDI1
o8ZID0yhxqcm+oyam2q2pHhIKBhJbRfAP8gmKc2CHOLPMarUqwtHTU1VSLY6uBc7
Hcc/9umxkl46WS0J9R1E9QKBgQC5kWMtCmoUh7dr4EuQjXVrwCwMSezGxLBHvtt2
zHw6VKM2bCRz84YzxBmcmY3w585yJz2D/YdINDXTmCTa7eoTtizD1YlP4tpfw8gc
Th1lk9Xpr1yGUUo2iPeKeoBnObh3uA5fgWgvkPDStDO0B1XaN2CqIuv7DKOkSDtH
QvhNUwKBgQCL5/qOU/v/c8Zst+yq85R9O3ZXv194sqGdBoAsol6kV847U4y5Rg9+
zlHte3QpB4EvacgLiKBRGjjHI6V+sKkQRGi2eunskFXu6dKIGqo+PjnGwD/lwbPa
/6LdmBO+8uauWzaGodTcsJKzedkvSdHiaCL9WW7rhwKsDRW8NooaBA==
-----END RSA PRIVATE KEY-----
";

/// As openssl writes them, and the host from bootstrap documents.
#[test]
fn keys_of_every_format_sign() {
    let state = State::new("formats");
    let files = state.files();
    let name = format!("{}.pem", "a1".repeat(16));
    for (text, scheme) in [
        (PKCS8, Scheme::EcdsaP384Sha384),
        (SEC1, Scheme::EcdsaP256Sha256),
        (PKCS1, Scheme::RsaPssSha256),
    ] {
        fs::write(state.directory().join(&name), text).unwrap();
        let signature = files.sign(&name, scheme, b"message").unwrap();
        assert!(verifies(
            scheme,
            &files.public_key(&name).unwrap(),
            &signature
        ));
    }
}

#[test]
fn keys_that_are_made_sign_in_every_scheme_of_their_kind_and_no_other() {
    let state = State::new("made");
    let files = state.files();
    for kind in KINDS {
        let (key, public) = files.generate(kind).unwrap();
        let KeyRef::File(name) = &key else {
            panic!("{key:?}");
        };
        let mode = fs::metadata(state.directory().join(name))
            .unwrap()
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        assert_eq!(files.public_key(name).unwrap(), public);
        for (scheme, _) in SCHEMES {
            let signed = files.sign(name, scheme, b"message");
            if scheme.key_kind() != kind {
                assert_eq!(signed, Err(KeyError::Scheme { scheme }), "{kind:?}");
                continue;
            }
            assert!(verifies(scheme, &public, &signed.unwrap()));
        }
        files.forget(name).unwrap();
        files.forget(name).unwrap();
        let gone = files.public_key(name);
        assert_eq!(gone, Err(KeyError::NoKey { key: name.clone() }));
    }
    assert_eq!(state.names(), BTreeSet::new());
}

#[test]
fn names_lead_nowhere_and_files_that_are_no_keys_are_refused() {
    let state = State::new("names");
    let files = state.files();
    let hash = "0123456789abcdef0123456789abcdef";
    fs::write(state.0.join("device.key"), "another room's").unwrap();
    for name in [
        "../device.key",
        "device.key",
        "",
        "/etc/hostname",
        &format!("{hash}.pem-new"),
        &format!("../keys/{hash}.pem"),
        &format!("{hash}.pem\0"),
    ] {
        let refused = files.public_key(name);
        assert!(
            matches!(refused, Err(KeyError::NoKey { .. })),
            "{name}: {refused:?}"
        );
        assert!(
            matches!(files.forget(name), Err(KeyError::File { .. })),
            "{name}"
        );
    }
    let name = format!("{hash}.pem");
    let secret = "c2VjcmV0".repeat(20_000);
    for text in ["", "secret", "-----BEGIN PRIVATE KEY-----\nAAAA\n", &secret] {
        fs::write(state.directory().join(&name), text).unwrap();
        let refused = files.public_key(&name).unwrap_err();
        assert!(matches!(refused, KeyError::File { .. }), "{refused:?}");
        assert!(!format!("{refused:?}{refused}").contains("c2VjcmV0"));
    }
    // What came with an account goes with it.
    assert!(matches!(files.forget(&name), Err(KeyError::File { .. })));
    assert!(state.names().contains(&name));
}

#[test]
fn keys_that_nobody_refers_to_go() {
    let state = State::new("orphans");
    let files = state.files();
    let mut made = Vec::new();
    for _ in 0..2 {
        let (KeyRef::File(name), _) = files.generate(KeyKind::EcP256).unwrap() else {
            panic!("not a file");
        };
        made.push(name);
    }
    let given = format!("{}.pem", "00".repeat(16));
    for name in [
        given.as_str(),
        "README",
        &format!("{}.key-new", "00".repeat(16)),
    ] {
        fs::write(state.directory().join(name), "x").unwrap();
    }
    let keep = BTreeSet::from([made[0].clone()]);
    remove_made_but(&state.directory(), &keep).unwrap();
    let left = [made[0].clone(), given, "README".to_owned()];
    assert_eq!(state.names(), left.into());
    remove_made_but(&state.0.join("nothing"), &keep).unwrap();
}

#[tokio::test]
async fn the_process_comes_with_the_first_need_and_goes_when_it_rests() {
    let state = State::new("rests");
    let config = state.config("[limits]\nidle-ms = 100");
    LocalSet::new()
        .run_until(async {
            let keys = Keys::new(&config);
            assert_eq!(keys.status().process, None);
            let (key, public) = keys.generate(KeyKind::EcP256).await.unwrap();
            assert!(keys.status().process.is_some());
            assert_eq!(keys.public_key(&key).await.unwrap(), public);
            let signature = keys.sign(&key, Scheme::EcdsaP256Sha256, b"message").await;
            assert!(verifies(
                Scheme::EcdsaP256Sha256,
                &public,
                &signature.unwrap()
            ));
            until(|| keys.status().process.is_none()).await;
            keys.forget(&key).await.unwrap();
            assert_eq!(keys.status().restarts, 0);
        })
        .await;
}

#[tokio::test]
async fn where_cards_are_watched_it_runs_at_once_and_stays() {
    let state = State::new("watches");
    let config = state.config("[keys]\ncards = true\n[limits]\nidle-ms = 1");
    LocalSet::new()
        .run_until(async {
            let keys = Keys::new(&config);
            until(|| keys.status().process.is_some()).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert!(keys.status().process.is_some());
        })
        .await;
}

#[tokio::test]
async fn so_many_requests_wait_and_no_more() {
    let state = State::new("many");
    let config = state.config("");
    LocalSet::new()
        .run_until(async {
            let keys = Keys::new(&config);
            let (key, _) = keys.generate(KeyKind::EcP256).await.unwrap();
            let mut asked = tokio::task::JoinSet::new();
            for _ in 0..40 {
                let (keys, key) = (keys.clone(), key.clone());
                asked.spawn_local(async move { keys.public_key(&key).await });
            }
            let mut answers = asked.join_all().await;
            answers.retain(|answer| *answer == Err(KeyError::Busy));
            assert_eq!(answers.len(), 40 - 32);
            keys.public_key(&key).await.unwrap();
        })
        .await;
}

#[tokio::test]
async fn a_thread_that_blocks_signs_through_it() {
    let state = State::new("blocks");
    let config = state.config("");
    LocalSet::new()
        .run_until(async {
            let keys = Keys::new(&config);
            let (key, public) = keys.generate(KeyKind::Ed25519).await.unwrap();
            let signer = keys.signer();
            let sign = move |key, scheme| {
                let signer = signer.clone();
                let deadline = Instant::now() + Duration::from_secs(20);
                tokio::task::spawn_blocking(move || signer.sign(&key, scheme, b"message", deadline))
            };
            let signature = sign(key.clone(), Scheme::Ed25519).await.unwrap().unwrap();
            assert!(verifies(Scheme::Ed25519, &public, &signature));
            let scheme = Scheme::RsaPssSha256;
            let refused = sign(key, scheme).await.unwrap();
            assert_eq!(refused, Err(KeyError::Scheme { scheme }));
        })
        .await;
}

async fn until(state: impl Fn() -> bool) {
    let begun = Instant::now();
    while !state() {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "it never happens"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
