//! Whom a chain lets in, and whom not: a table of each.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use rcgen::{CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, KeyUsagePurpose};
use x509_cert::der::Encode;
use x509_cert::ext::pkix::certpolicy::PolicyInformation;

use super::super::testing::{Ca, Issued, validity};
use super::*;

const POLICY: &str = "1.3.6.1.4.1.99999.1";
const OTHER: &str = "1.3.6.1.4.1.99999.2";
const ANY: &str = "2.5.29.32.0";

/// The clock is there.
fn at(moment: u64) -> Rules {
    Rules {
        clock: super::super::Clock::at_least(moment),
        ..Rules::default()
    }
}

fn ma() -> Authority {
    Authority::server("ma")
}

fn anchor(ca: &Ca) -> Credential {
    Credential {
        authority: ma(),
        id: "1".into(),
        role: Role::Anchor,
        chain_der: vec![ca.der()],
        purposes: [Purpose::Applications].into(),
        origins: [super::super::Origin::Bootstrap].into(),
        state: State::Active,
        added: 0,
    }
}

fn policies(identifiers: &[&str]) -> CustomExtension {
    let all = identifiers.iter().map(|identifier| PolicyInformation {
        policy_identifier: ObjectIdentifier::new(identifier).unwrap(),
        policy_qualifiers: None,
    });
    let der = CertificatePolicies(all.collect()).to_der().unwrap();
    CustomExtension::from_oid_content(&[2, 5, 29, 32], der)
}

fn with_policies(params: &mut CertificateParams, identifiers: &[&str]) {
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.custom_extensions = vec![policies(identifiers)];
}

fn verify(issued: &Issued, credentials: &[Credential]) -> Result<Applicant, ApplicationError> {
    Applicant::verify(
        &ma(),
        issued.chain_der.clone(),
        credentials,
        &Rules::default(),
    )
}

fn names(applicant: &Applicant) -> Vec<String> {
    let names = applicant.principals().iter();
    names
        .map(|principal| principal.of(&ma()).to_string())
        .collect()
}

fn sign(issued: &Issued, message: &[u8]) -> Vec<u8> {
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &issued.key_der).unwrap();
    key.sign(&SystemRandom::new(), message)
        .unwrap()
        .as_ref()
        .to_vec()
}

#[test]
fn a_certificate_names_its_subject_and_its_policies() {
    let ca = Ca::new("CA");
    let applicant = verify(&ca.client("meter"), &[anchor(&ca)]).unwrap();
    assert_eq!(names(&applicant), ["local:ma/subject=CN=meter"]);
    assert_eq!(applicant.scheme(), Scheme::EcdsaP256Sha256);

    let issued = ca.issue("meter", |params| {
        with_policies(params, &[OTHER, POLICY]);
        params
            .distinguished_name
            .push(DnType::OrganizationName, "a/b, c");
    });
    let applicant = verify(&issued, &[anchor(&ca)]).unwrap();
    let expected = [
        "local:ma/subject=O=a/b\\, c,CN=meter".to_owned(),
        format!("local:ma/policy={POLICY}"),
        format!("local:ma/policy={OTHER}"),
    ];
    assert_eq!(names(&applicant), expected);
}

#[test]
fn an_issuer_passes_on_only_the_policies_that_it_was_given() {
    let root = Ca::new("root");
    let rows: [(Option<&[&str]>, &[&str]); 4] = [
        (Some(&[POLICY]), &[POLICY]),
        (Some(&[ANY]), &[POLICY, OTHER]),
        (Some(&[]), &[]),
        (None, &[]),
    ];
    for (of_issuer, expected) in rows {
        let middle = root.intermediate_with("middle", |params| {
            params.custom_extensions = of_issuer.map(policies).into_iter().collect();
        });
        let mut issued = middle.issue("meter", |params| {
            with_policies(params, &[POLICY, OTHER, ANY])
        });
        issued.chain_der.push(middle.der());
        let applicant = verify(&issued, &[anchor(&root)]).unwrap();
        let expected = expected
            .iter()
            .map(|policy| format!("local:ma/policy={policy}"));
        assert_eq!(
            names(&applicant)[1..],
            expected.collect::<Vec<_>>(),
            "{of_issuer:?}"
        );
        // Without its issuer the chain leads nowhere.
        issued.chain_der.pop();
        assert!(verify(&issued, &[anchor(&root)]).is_err());
    }
}

#[test]
fn who_is_not_let_in_and_why() {
    let (ca, other) = (Ca::new("CA"), Ca::new("other"));
    let good = ca.client("meter");
    verify(&good, &[anchor(&other), anchor(&ca)]).unwrap();
    let issue = |change: fn(&mut CertificateParams)| {
        ca.issue("meter", |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            change(params);
        })
    };
    let rows: [(&Issued, &str); 8] = [
        (&other.client("meter"), "UnknownIssuer"),
        (
            &issue(|params| validity(params, 2001, 2002)),
            "certificate expired",
        ),
        (
            &issue(|params| validity(params, 2090, 2091)),
            "not valid yet",
        ),
        (
            &issue(|params| params.extended_key_usages.clear()),
            "not for client authentication",
        ),
        (
            &issue(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
            "does not count",
        ),
        (
            &issue(|params| params.key_usages = vec![KeyUsagePurpose::KeyEncipherment]),
            "may not sign",
        ),
        (
            &issue(|params| params.distinguished_name = rcgen::DistinguishedName::new()),
            "neither a subject nor a policy",
        ),
        (
            &issue(|params| {
                params
                    .distinguished_name
                    .push(DnType::OrganizationName, "x".repeat(600))
            }),
            "is longer than 512",
        ),
    ];
    for (issued, expected) in rows {
        let error = verify(issued, &[anchor(&ca)]).unwrap_err();
        assert!(
            format!("{error} {error:?}").contains(expected),
            "{expected}: {error}"
        );
    }
}

#[test]
fn only_an_active_anchor_of_that_authority_with_the_purpose_counts() {
    let ca = Ca::new("CA");
    let issued = ca.client("meter");
    let change = |change: fn(&mut Credential)| {
        let mut credential = anchor(&ca);
        change(&mut credential);
        credential
    };
    let rows = [
        change(|anchor| {
            anchor.purposes = [Purpose::Sessions, Purpose::Named("applications".into())].into()
        }),
        change(|anchor| anchor.state = State::Suspended),
        change(|anchor| {
            anchor.state = State::Trial {
                replaces: "2".into(),
            }
        }),
        change(|anchor| anchor.role = Role::Intermediate),
        change(|anchor| anchor.authority = Authority::server("another")),
    ];
    for credential in rows {
        let error = verify(&issued, &[credential]).unwrap_err();
        assert!(
            matches!(error, ApplicationError::NoAnchor { .. }),
            "{error}"
        );
    }
    // What lets in is asked again: it may have gone, or have been replaced by one that lets in too.
    let applicant = verify(&issued, &[anchor(&ca)]).unwrap();
    assert_eq!(applicant.recheck(&[anchor(&ca)], &Rules::default()), Ok(()));
    assert_eq!(
        applicant.recheck(&[anchor(&Ca::new("new")), anchor(&ca)], &Rules::default()),
        Ok(())
    );
    assert!(applicant.recheck(&[], &Rules::default()).is_err());
    assert!(
        applicant
            .recheck(&[anchor(&Ca::new("CA"))], &Rules::default())
            .is_err()
    );
    assert!(
        applicant
            .recheck(&[anchor(&ca)], &at(applicant.not_after() + 1))
            .is_err()
    );
    assert_eq!(
        applicant.recheck(&[anchor(&ca)], &at(applicant.not_after())),
        Ok(())
    );
}

#[test]
fn a_signature_counts_for_its_key_nonce_process_and_authority() {
    let ca = Ca::new("CA");
    let (own, other) = (ca.client("own"), ca.client("other"));
    let applicant = verify(&own, &[anchor(&ca)]).unwrap();
    let nonce = [7; NONCE];
    let good = sign(&own, &statement("ma", &nonce, 42));
    assert_eq!(applicant.check(&nonce, 42, &good), Ok(()));
    let rows = [
        sign(&other, &statement("ma", &nonce, 42)),
        sign(&own, &statement("ma", &[8; NONCE], 42)),
        sign(&own, &statement("ma", &nonce, 43)),
        sign(&own, &statement("another", &nonce, 42)),
        sign(&own, &nonce),
        good[1..].to_vec(),
        vec![0; 4096],
        Vec::new(),
    ];
    for signature in rows {
        assert_eq!(
            applicant.check(&nonce, 42, &signature),
            Err(ApplicationError::NoProof)
        );
    }
}

#[test]
fn no_chain_is_too_long_too_large_or_too_strange() {
    let ca = Ca::new("CA");
    let leaf = ca.client("meter").chain_der.remove(0);
    let verify =
        |chain: Vec<Vec<u8>>| Applicant::verify(&ma(), chain, &[anchor(&ca)], &Rules::default());
    verify(vec![leaf.clone()]).unwrap();
    for chain in [
        Vec::new(),
        vec![leaf.clone(); CHAIN + 1],
        vec![leaf.clone(), vec![0x30; CERTIFICATE + 1]],
        vec![vec![]],
        vec![leaf.clone(), b"?".to_vec()],
    ] {
        verify(chain).unwrap_err();
    }
    // Every truncation, and every byte turned over: refused or, where the byte means nothing, let in; never a panic.
    for end in 0..leaf.len() {
        verify(vec![leaf[..end].to_vec()]).unwrap_err();
    }
    for index in 0..leaf.len() {
        for bit in [0x01, 0x80, 0xff] {
            let mut damaged = leaf.clone();
            damaged[index] ^= bit;
            assert!(
                verify(vec![damaged]).is_err(),
                "byte {index} is signed, or is the signature"
            );
        }
    }
}

#[test]
fn an_authority_that_publishes_lists_is_judged_by_them() {
    let ca = Ca::new("CA");
    let numbered = |number: u64| {
        ca.issue("meter", |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            params.serial_number = Some(rcgen::SerialNumber::from(number));
        })
    };
    let by = |crl: Vec<u8>| Rules {
        crls_der: vec![crl],
        ..Rules::default()
    };
    let anchors = [anchor(&ca)];
    let verify = |number: u64, rules: &Rules| {
        Applicant::verify(&ma(), numbered(number).chain_der, &anchors, rules)
    };
    let holds = by(ca.crl(&[7], 2020, 2090));
    let applicant = verify(8, &holds).unwrap();
    verify(7, &holds).unwrap_err();
    verify(8, &by(ca.crl(&[7], 2020, 2021))).unwrap_err();
    verify(8, &by(Ca::new("other").crl(&[], 2020, 2090))).unwrap_err();
    // One that was let in is not, once it is on a list.
    assert_eq!(applicant.recheck(&anchors, &holds), Ok(()));
    assert!(
        applicant
            .recheck(&anchors, &by(ca.crl(&[8], 2020, 2090)))
            .is_err()
    );
}
