//! The bootstrap document: what is read, what is missing, and what never shows.

use crate::nodes;
use bailiwick_protocol::{
    Account, AccountAuth, BootstrapDocument, BootstrapError, DMACC_MOID, Limits, MoItem, Value,
    bootstrap::{BootstrapAuth, GcmPush, NotiAuth, SecMode, TrspAuth},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value as Json, json};

fn parse(document: &Json) -> Result<BootstrapDocument, BootstrapError> {
    BootstrapDocument::parse(document.to_string().as_bytes(), &Limits::default())
}

/// The least that an account has.
fn least() -> Json {
    json!({
        "SrvID": "ma.example",
        "SrvURI": "https://ma.example/dm",
        "Name": "Example",
        "Perm": {"1": {"MOID": "urn:oma:mo:oma-fumo:1.0"}}
    })
}

fn document(account: Json) -> Json {
    json!([{"ClientURI": format!("{DMACC_MOID}//"), "MOData": {"DMAcc": account}}])
}

fn full() -> Account {
    Account {
        srv_id: "ma.example".into(),
        srv_uri: "https://ma.example/dm".into(),
        name: "Example".into(),
        permitted_moids: vec![
            "urn:oma:mo:oma-fumo:1.0".into(),
            "urn:oma:mo:oma-scomo:1.1".into(),
        ],
        auth: AccountAuth {
            anchors_der: vec![vec![0x30, 1], vec![0x30, 2]],
            crls_der: vec![vec![0x30, 3]],
            crl_uri: Some("https://ma.example/data/crl.der".into()),
            pins: vec![[1; 32], [2; 32]],
            bootstrap: Some(BootstrapAuth {
                server_uri: "https://bootstrap.example/".into(),
                sec_mode: SecMode::Certificate,
                client_public: vec![1],
                server_public: vec![2],
                client_secret: b"hush-bootstrap".to_vec().into(),
            }),
            noti: Some(NotiAuth {
                kind: NotiAuth::SHA256,
                data: vec![3],
                secret: b"hush-noti".to_vec().into(),
            }),
            trsp: Some(TrspAuth {
                data: vec![4],
                secret: b"hush-trsp".to_vec().into(),
            }),
        },
        push: Some(GcmPush {
            sender_id: "1".into(),
            reg_uri: "https://ma.example/reg".into(),
            unreg_uri: "https://ma.example/unreg".into(),
            reg_params: "a=b".into(),
        }),
        est_uri: Some("https://ma.example/.well-known/est".into()),
        ext: nodes(&[
            ("Acme", None),
            ("Acme/Colour", Some(Value::Chr("red".into()))),
        ]),
    }
}

#[test]
fn everything_written_is_read_back() {
    let other = MoItem::from_nodes(
        "urn:oma:mo:oma-fumo:1.0/1/".into(),
        "fumo",
        &nodes(&[("", None)]),
        None,
    );
    let second = Account {
        srv_id: "other.example".into(),
        ext: vec![],
        ..full()
    };
    let document = BootstrapDocument {
        accounts: vec![full(), second],
        objects: vec![other],
    };
    assert_eq!(
        BootstrapDocument::parse(&document.to_bytes(), &Limits::default()),
        Ok(document)
    );
}

#[test]
fn the_least_account() {
    let read = parse(&document(least())).unwrap();
    let [account] = read.accounts.as_slice() else {
        panic!("one account")
    };
    assert_eq!(account.srv_uri, "https://ma.example/dm");
    assert_eq!(account.permitted_moids, ["urn:oma:mo:oma-fumo:1.0"]);
    assert_eq!(account.auth, AccountAuth::default());
    assert_eq!((&account.push, account.ext.as_slice()), (&None, &[][..]));
}

#[test]
fn other_objects_are_kept_and_unknown_members_skipped() {
    let mut account = least();
    account["Colour"] = json!("red");
    account["Auth"] = json!({"Noti": null, "Other": {}});
    let mut list = document(account);
    let other = json!({"ClientURI": "urn:oma:mo:oma-fumo:1.0/1/Update", "MOData": {"Update": {}}, "Extra": 1});
    list.as_array_mut().expect("a list").insert(0, other);
    let read = parse(&list).unwrap();
    assert_eq!((read.accounts.len(), read.objects.len()), (1, 1));
    assert_eq!(
        read.objects[0].client_uri.as_deref(),
        Some("urn:oma:mo:oma-fumo:1.0/1/Update")
    );
    assert!(
        parse(&document(least())[0]).is_ok(),
        "a single item without an array"
    );
}

#[test]
fn certificates_in_pem_become_der() {
    let pem = "subject=x\n-----BEGIN CERTIFICATE-----\nMAEC\n-----END CERTIFICATE-----\n\
               -----BEGIN CERTIFICATE-----\r\nMAMC\r\n-----END CERTIFICATE-----\n";
    let mut account = least();
    account["Ext"] = json!({"Anchor": {"a": Value::Bin(pem.into()).to_json(), "b": "MAAA"}});
    let read = parse(&document(account)).unwrap();
    assert_eq!(
        read.accounts[0].auth.anchors_der,
        [vec![0x30, 1, 2], vec![0x30, 3, 2], vec![0x30, 0, 0]]
    );
    assert!(read.accounts[0].ext.is_empty());
    for bad in ["", "AAAA", "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t"] {
        let mut account = least();
        account["Ext"] = json!({"Anchor": {"a": bad}});
        assert!(
            matches!(
                parse(&document(account)),
                Err(BootstrapError::Content { .. })
            ),
            "{bad}"
        );
    }
}

#[test]
fn security_modes() {
    let mode = |value: &str| {
        let mut account = least();
        account["Auth"] = json!({"Bootstrap": {
            "ServerURI": "https://b.example/", "SecMode": value,
            "ClientPubKey": "", "ServerPubKey": "", "ClientSecretKey": ""
        }});
        parse(&document(account)).map(|read| {
            read.accounts[0]
                .auth
                .bootstrap
                .clone()
                .map(|auth| auth.sec_mode)
        })
    };
    // Base64 of the byte and of the digit.
    assert_eq!(mode("AA=="), Ok(Some(SecMode::Psk)));
    assert_eq!(mode("MA=="), Ok(Some(SecMode::Psk)));
    assert_eq!(mode("Ag=="), Ok(Some(SecMode::Certificate)));
    assert_eq!(mode("Mg=="), Ok(Some(SecMode::Certificate)));
    for refused in ["AQ==", "Aw==", "", "AgI="] {
        assert!(
            matches!(mode(refused), Err(BootstrapError::Content { .. })),
            "{refused}"
        );
    }
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    let rows = [
        ("/SrvID", None, "SrvID"),
        ("/SrvURI", None, "SrvURI"),
        ("/Name", None, "Name"),
        ("/Perm", None, "Perm/<x>/MOID"),
        ("/SrvID", Some(json!("")), "SrvID"),
        ("/SrvID", Some(json!("a\nb")), "SrvID"),
        ("/SrvID", Some(json!(["a"])), "SrvID"),
        ("/SrvURI", Some(json!("ftp://h/")), "SrvURI"),
        ("/SrvURI", Some(json!("https://h/ x")), "SrvURI"),
        ("/Perm", Some(json!({})), "Perm/<x>/MOID"),
        ("/Perm/1/MOID", Some(json!(7)), "Perm/<x>/MOID"),
        ("/Perm/1/MOID", Some(json!("urn:x:1/1")), "Perm/<x>/MOID"),
    ];
    for (pointer, replacement, node) in rows {
        let mut account = least();
        match replacement.clone() {
            Some(value) => *account.pointer_mut(pointer).expect(pointer) = value,
            None => drop(
                account
                    .as_object_mut()
                    .expect("an object")
                    .remove(&pointer[1..]),
            ),
        }
        let error = parse(&document(account)).expect_err(pointer);
        assert!(
            error.to_string().contains(node),
            "{pointer} {replacement:?}: {error}"
        );
    }
    for half in [
        json!({"Noti": {"Type": 1}}),
        json!({"Trsp": {"Data": ""}}),
        json!({"Trsp": {"Data": "*", "Secret": ""}}),
    ] {
        let mut account = least();
        account["Auth"] = half.clone();
        assert!(parse(&document(account)).is_err(), "{half}");
    }
}

#[test]
fn what_judges_a_server_is_read_or_refused() {
    let with = |ext: Json| {
        let mut account = least();
        account["Ext"] = ext;
        parse(&document(account)).map(|document| document.accounts[0].auth.clone())
    };
    let pem = "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n".repeat(2);
    let crls = with(json!({"CRL": {"1": BASE64_STANDARD.encode(pem), "2": "MAE="}})).unwrap();
    assert_eq!(crls.crls_der, [vec![0x30, 0], vec![0x30, 0], vec![0x30, 1]]);
    for refused in [
        json!({"CRL": {"1": "AAAA"}}),
        json!({"CRL": {"1": ""}}),
        json!({"CRLURI": "ftp://ma.example/crl"}),
        json!({"Pin": {"1": "AAAA"}}),
        json!({"EST": "ma.example"}),
    ] {
        assert!(with(refused.clone()).is_err(), "{refused}");
    }
}

#[test]
fn documents_that_are_refused() {
    let twice = json!([document(least())[0], document(least())[0]]);
    assert_eq!(
        parse(&twice),
        Err(BootstrapError::Repeated {
            srv_id: "ma.example".into()
        })
    );
    assert_eq!(parse(&json!([])), Err(BootstrapError::NoAccount));
    assert_eq!(
        parse(&json!([{"MOData": {}}])),
        Err(BootstrapError::NoUri { item: 0 })
    );
    assert!(matches!(
        parse(&json!([{"MOData": {}, "ClientURI": "x"}])),
        Err(BootstrapError::Uri { item: 0, .. })
    ));
    let limits = Limits {
        package_bytes: 100,
        ..Limits::default()
    };
    let bytes = document(least()).to_string().into_bytes();
    assert!(matches!(
        BootstrapDocument::parse(&bytes, &limits),
        Err(BootstrapError::Object(_))
    ));
}

#[test]
fn secrets_never_show() {
    let shown = format!("{:?} {:#?}", full(), full());
    assert!(shown.contains("Secret(…)"), "{shown}");
    for secret in ["hush-bootstrap", "hush-noti", "hush-trsp"] {
        let as_list = format!("{:?}", secret.as_bytes());
        assert!(
            !shown.contains(secret) && !shown.contains(&as_list),
            "{shown}"
        );
    }
    let noti = full().auth.noti.expect("credentials");
    assert_eq!(noti.secret.expose(), b"hush-noti");
}
