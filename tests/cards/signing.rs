//! Signatures by keys of cards, verified by a library.

use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use bailiwick::keys::{KeyError, Scheme};
use bailiwick_tests::card::{Card, Content, Key, Root};

use super::stage::{MESSAGE, Stage, key_of, play};

const RSA: [(Scheme, &dyn VerificationAlgorithm); 6] = [
    (
        Scheme::RsaPkcs1Sha256,
        &signature::RSA_PKCS1_2048_8192_SHA256,
    ),
    (
        Scheme::RsaPkcs1Sha384,
        &signature::RSA_PKCS1_2048_8192_SHA384,
    ),
    (
        Scheme::RsaPkcs1Sha512,
        &signature::RSA_PKCS1_2048_8192_SHA512,
    ),
    (Scheme::RsaPssSha256, &signature::RSA_PSS_2048_8192_SHA256),
    (Scheme::RsaPssSha384, &signature::RSA_PSS_2048_8192_SHA384),
    (Scheme::RsaPssSha512, &signature::RSA_PSS_2048_8192_SHA512),
];

pub(crate) fn every_scheme_of_every_key(test: &str) {
    let p256: (Scheme, &dyn VerificationAlgorithm) =
        (Scheme::EcdsaP256Sha256, &signature::ECDSA_P256_SHA256_ASN1);
    let p384: (Scheme, &dyn VerificationAlgorithm) =
        (Scheme::EcdsaP384Sha384, &signature::ECDSA_P384_SHA384_ASN1);
    let kinds = [
        (Key::Rsa, &RSA[..]),
        (Key::Ec, &[p256][..]),
        (Key::Ec384, &[p384][..]),
    ];
    play(test, "", Some("1234"), async |stage: &mut Stage| {
        for (kind, schemes) in kinds {
            let key = kind.generate();
            let content = Content::with_key(&Root::new("North"), &key);
            stage.insert(0, &Card::pkcs15(&content)).await;
            let card = stage.read(0).await.expect("contents").card;
            let spki = rcgen::PublicKeyData::subject_public_key_info(&key);
            let public = stage.keys.public_key(&key_of(&card)).await;
            assert_eq!(public.as_ref(), Ok(&spki));
            for (scheme, verify) in schemes {
                let signed = stage.sign(&card, *scheme).await;
                let signed = signed.unwrap_or_else(|error| panic!("{scheme:?}: {error}"));
                let public = UnparsedPublicKey::new(*verify, &spki);
                public
                    .verify(MESSAGE, &signed)
                    .unwrap_or_else(|_| panic!("{scheme:?}: the signature is wrong"));
            }
            let other = match kind {
                Key::Rsa => Scheme::EcdsaP256Sha256,
                Key::Ec | Key::Ec384 => Scheme::RsaPssSha256,
            };
            let error = stage
                .sign(&card, other)
                .await
                .expect_err("another kind of key");
            assert_eq!(error, KeyError::Scheme { scheme: other });
            stage.pull(0).await;
        }
    });
}

pub(crate) fn a_card_that_pads_by_itself_signs_what_it_can(test: &str) {
    play(test, "", Some("1234"), async |stage: &mut Stage| {
        let key = Key::Rsa.generate();
        let content = Content::with_key(&Root::new("North"), &key);
        stage
            .insert(0, &Card::pkcs15(&content).profile("no-raw"))
            .await;
        let card = stage.read(0).await.expect("contents").card;
        let spki = rcgen::PublicKeyData::subject_public_key_info(&key);
        let (scheme, verify) = RSA[0];
        let signed = stage.sign(&card, scheme).await.expect("a signature");
        let public = UnparsedPublicKey::new(verify, &spki);
        public.verify(MESSAGE, &signed).expect("a right signature");
        let scheme = Scheme::RsaPssSha256;
        let error = stage.sign(&card, scheme).await.expect_err("it cannot");
        assert_eq!(error, KeyError::Scheme { scheme });
    });
}
