//! Both objects against a host of the SDK.

use bailiwick_plugin::applications::Rights;
use bailiwick_plugin::certificates::{Certificate, Role};
use bailiwick_plugin::testing::Harness;
use bailiwick_plugin::{Error, Node};

use super::*;

const CERTIFICATE: &str = certificate::MOID;
const GRANT: &str = grant::MOID;

fn from_card() -> Certificate {
    Certificate {
        id: "abcdef0123456789".into(),
        role: Role::Identity,
        der: vec![1, 2],
        purposes: vec!["sessions".into()],
        origins: vec!["card 123".into()],
        removable: false,
        state: "active".into(),
        key_in: Some("123".into()),
        subject: "CN=device".into(),
        issuer: "CN=CA".into(),
        serial_number: "0a".into(),
        not_before: "2026-01-01T00:00:00Z".into(),
        not_after: "2027-01-01T00:00:00Z".into(),
    }
}

fn anchor(der: &[u8]) -> Vec<Node> {
    vec![
        Node::interior(&[]),
        Node::leaf(&["Role"], "anchor"),
        Node::leaf(&["Certificate"], der.to_vec()),
        Node::interior(&["Purposes"]),
        Node::leaf(&["Purposes", "1"], "applications"),
    ]
}

fn rights(subject: &str, rights: i64) -> Vec<Node> {
    vec![
        Node::leaf(&["Subject"], subject),
        Node::leaf(&["Target"], "urn:x/1/"),
        Node::leaf(&["Rights"], rights),
        Node::leaf(&["NotAfter"], "2026-01-01T00:00:00Z"),
    ]
}

#[test]
fn what_others_gave_is_shown_and_stays() {
    let harness = Harness::new();
    harness.add_certificate(from_card());
    let mut object = harness.object::<Certificates>();
    let miid = "abcdef0123456789-identity";
    assert_eq!(object.instances(CERTIFICATE), Ok(vec![miid.into()]));
    let shown = object.values(CERTIFICATE, miid);
    assert!(shown.contains(&("KeyIn".into(), "123".into())), "{shown:?}");
    assert!(
        shown.contains(&("Origins/1".into(), "card 123".into())),
        "{shown:?}"
    );
    object.assert_follows(include_str!("../certificate.ddf"), CERTIFICATE, miid);
    assert_eq!(object.delete(CERTIFICATE, miid), Err(Error::NotSupported));
    assert_eq!(
        object.read(CERTIFICATE, "another", ""),
        Err(Error::NotFound)
    );
}

#[test]
fn an_instance_that_the_authority_made_is_its_gift() {
    let harness = Harness::new();
    let mut object = harness.object::<Certificates>();
    object.create(CERTIFICATE, "7", anchor(&[5])).unwrap();
    assert_eq!(harness.certificates().len(), 1);
    assert_eq!(object.instances(CERTIFICATE), Ok(Vec::new()));
    let shown = object.values(CERTIFICATE, "7");
    assert!(
        shown.contains(&("Purposes/1".into(), "applications".into())),
        "{shown:?}"
    );
    object.assert_follows(include_str!("../certificate.ddf"), CERTIFICATE, "7");
    assert!(matches!(
        object.create(CERTIFICATE, "8", anchor(&[5])),
        Err(Error::Conflict(_))
    ));
    object.delete(CERTIFICATE, "7").unwrap();
    assert!(harness.certificates().is_empty());
    // One that went by another way can still be deleted.
    object.create(CERTIFICATE, "9", anchor(&[6])).unwrap();
    let mut lost = object;
    harness.store(
        bailiwick_plugin::testing::Namespace::Instance(CERTIFICATE.into(), "9".into()),
        "id",
        "gone",
    );
    assert_eq!(lost.read(CERTIFICATE, "9", ""), Err(Error::NotFound));
    lost.delete(CERTIFICATE, "9").unwrap();
}

#[test]
fn what_makes_no_certificate_is_refused() {
    let harness = Harness::new();
    let mut object = harness.object::<Certificates>();
    let mut identity = anchor(&[5]);
    identity[1] = Node::leaf(&["Role"], "identity");
    let mut with_state = anchor(&[5]);
    with_state.push(Node::leaf(&["State"], "active"));
    for initial in [
        identity,
        with_state,
        anchor(&[]),
        anchor(&[5])[2..].to_vec(),
        Vec::new(),
    ] {
        let refused = object.create(CERTIFICATE, "7", initial);
        assert!(
            matches!(refused, Err(Error::InvalidArgument(_))),
            "{refused:?}"
        );
    }
    assert!(harness.certificates().is_empty());
}

#[test]
fn a_grant_holds_as_long_as_its_instance() {
    let harness = Harness::new();
    harness.set_authority(Some("ma"));
    let mut object = harness.object::<Certificates>();
    object.create(GRANT, "1", rights("CN=meter", 3)).unwrap();
    let given = harness.grants();
    assert_eq!(given[0].rights, Rights::READ | Rights::WRITE);
    assert_eq!(given[0].not_after, Some(1_767_225_600));
    assert!(
        object
            .values(GRANT, "1")
            .contains(&("State".into(), "active".into()))
    );
    object.assert_follows(include_str!("../grant.ddf"), GRANT, "1");
    // One authority does not take back in the name of another.
    harness.set_authority(Some("another"));
    assert_eq!(object.delete(GRANT, "1"), Err(Error::NotPermitted));
    assert_eq!(harness.grants().len(), 1);
    harness.set_authority(Some("ma"));
    assert!(matches!(
        object.create(GRANT, "2", rights("CN=meter", 1)),
        Err(Error::Conflict(_))
    ));
    object.delete(GRANT, "1").unwrap();
    assert!(harness.grants().is_empty());
}

#[test]
fn what_makes_no_grant_is_refused() {
    let harness = Harness::new();
    harness.set_authority(Some("ma"));
    let mut object = harness.object::<Certificates>();
    let mut both = rights("CN=meter", 1);
    both.push(Node::leaf(&["Policy"], "1.2.3"));
    let mut wrong_end = rights("CN=meter", 1);
    wrong_end[3] = Node::leaf(&["NotAfter"], "tomorrow");
    for initial in [
        both,
        wrong_end,
        rights("CN=meter", 0),
        rights("CN=meter", 8),
        rights("CN=meter", 1)[1..].to_vec(),
    ] {
        let refused = object.create(GRANT, "1", initial);
        assert!(
            matches!(refused, Err(Error::InvalidArgument(_))),
            "{refused:?}"
        );
    }
    assert!(harness.grants().is_empty());
}
