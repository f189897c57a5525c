//! Bootstrap: all or nothing, once, and never over somebody else's account.

use std::cell::RefCell;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use bailiwick_protocol as protocol;
use bailiwick_protocol::MoItem;
use bailiwick_protocol::bootstrap::{
    BootstrapAuth, BootstrapDocument, NotiAuth, SecMode, TrspAuth,
};

use tokio::task::LocalSet;

use super::*;
use crate::certificates::fingerprint;
use crate::certificates::testing::{Ca, Issued};
use crate::certificates::{Purpose, State as Standing, Trust};
use crate::keys::{KeyError, testing};
use crate::store::faults::Memory;
use crate::store::{Backend, Batch, Rows, StoreError, Transaction};

/// A state directory that goes with the test.
struct State(PathBuf);

impl State {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("bw-{name}-{}", std::process::id()));
        let _old = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn keys(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(self.0.join("keys")) else {
            return Vec::new();
        };
        let mut keys: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        keys.sort();
        keys
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

/// What `accounts` makes, with a keys process of its own.
async fn trust(
    accounts: &Accounts,
    state: &State,
    authority: &Authority,
) -> Result<Rc<Trust>, AccountError> {
    let making = async { accounts.trust(authority, &testing::keys(&state.0)).await };
    LocalSet::new().run_until(making).await
}

/// One authority, as its bootstrap documents show it.
struct Ma {
    ca: Ca,
    client: Issued,
}

impl Ma {
    fn new() -> Self {
        let ca = Ca::new("MA");
        Self {
            client: ca.client("device"),
            ca,
        }
    }

    fn account(&self, srv_id: &str) -> protocol::Account {
        protocol::Account {
            srv_id: srv_id.into(),
            srv_uri: format!("https://{srv_id}/dm"),
            name: "Operations".into(),
            permitted_moids: vec!["urn:oma:mo:b:1.0".into(), "urn:oma:mo:a:1.0".into()],
            auth: protocol::AccountAuth {
                anchors_der: vec![self.ca.der()],
                trsp: Some(TrspAuth {
                    data: self.client.chain_der[0].clone(),
                    secret: self.client.key_der.clone().into(),
                }),
                ..Default::default()
            },
            ..Default::default()
        }
    }
}

fn document(accounts: &[protocol::Account]) -> Vec<u8> {
    BootstrapDocument {
        accounts: accounts.to_vec(),
        objects: Vec::new(),
    }
    .to_bytes()
}

fn accounts(store: &Store, state: &State) -> Accounts {
    let permissions = Permissions::new(store.clone(), &[]).unwrap();
    Accounts::new(store.clone(), permissions, &state.0).unwrap()
}

/// A command without objects: it knows none, refuses `urn:bad` and says what it was given.
struct Plain {
    tx: Rc<Transaction>,
    stored: Rc<RefCell<Vec<String>>>,
}

impl Command for Plain {
    fn transaction(&self) -> Rc<Transaction> {
        self.tx.clone()
    }

    async fn store(&self, item: &MoItem) -> Result<Stored, String> {
        let uri = item.client_uri.clone().unwrap();
        if uri.starts_with("urn:bad") {
            return Err("it is bad".into());
        }
        self.stored.borrow_mut().push(uri);
        Ok(Stored::Unknown)
    }

    async fn commit(self) -> Result<(), StoreError> {
        self.tx.commit().await
    }
}

fn begin(store: &Store) -> impl FnOnce(&Authority) -> Plain + use<> {
    let tx = Rc::new(store.begin());
    move |_| Plain {
        tx,
        stored: Rc::default(),
    }
}

#[tokio::test]
async fn a_document_becomes_accounts_with_rights_instances_and_secrets() {
    let (state, store, ma) = (
        State::new("becomes"),
        Store::in_memory().unwrap(),
        Ma::new(),
    );
    let accounts = accounts(&store, &state);
    let document = document(&[ma.account("one.example"), ma.account("two.example")]);
    let outcome = accounts
        .bootstrap(&document, Overwrite::Refuse, begin(&store))
        .await
        .unwrap();
    assert!(outcome.iter().all(|done| done.change == Change::Added));

    let list = accounts.list().unwrap();
    let shown: Vec<_> = list.iter().map(|a| a.authority.as_str()).collect();
    assert_eq!(shown, ["one.example", "two.example"]);
    assert_ne!(list[0].miid, list[1].miid);
    assert_eq!(
        list[0].client_certificate(),
        Some(ma.client.chain_der[0].as_slice())
    );

    let keys = state.keys();
    assert_eq!(keys.len(), 2, "authorities never share a file");
    for key in &keys {
        assert_eq!(std::fs::metadata(key).unwrap().mode() & 0o777, 0o600);
    }
    assert_eq!(
        std::fs::metadata(state.0.join("keys")).unwrap().mode() & 0o777,
        0o700
    );

    let trust = trust(&accounts, &state, &list[0].authority).await.unwrap();
    assert!(trust.has_identity());
    assert_eq!(trust.authority(), &list[0].authority);

    let shown = format!("{list:?}{}", serde_json::to_string(&list).unwrap());
    let views = |who: &Authority| {
        let seen = accounts.views(who).unwrap();
        seen.into_iter().map(|view| view.srv_id).collect::<Vec<_>>()
    };
    assert_eq!(views(&list[0].authority), ["one.example"]);
    assert_eq!(
        views(&Authority::operator()),
        ["one.example", "two.example"]
    );
    assert_eq!(views(&Authority::server("nobody")), Vec::<String>::new());

    let secret = std::fs::read_to_string(&keys[0]).unwrap();
    let secret = secret.lines().nth(1).unwrap();
    assert!(!shown.contains(secret) && !shown.contains("PRIVATE"));

    let permissions = Permissions::new(store.clone(), &[]).unwrap();
    let tx = store.begin();
    for account in &list {
        let moids = permissions
            .permitted_moids(&tx, &account.authority)
            .unwrap();
        assert_eq!(moids, ["urn:oma:mo:a:1.0", "urn:oma:mo:b:1.0"]);
    }
    let instances = permissions.instances_of(&tx, DMACC_MOID).unwrap();
    let owners: Vec<_> = instances
        .iter()
        .map(|(i, r)| (i.clone(), r.owner.clone()))
        .collect();
    let mut expected: Vec<_> = list
        .iter()
        .map(|a| (a.instance(), a.authority.clone()))
        .collect();
    expected.sort();
    assert_eq!(owners, expected, "both in order of their names");
    assert!(instances.iter().all(|(_, record)| record.plugin == PLUGIN));
}

#[tokio::test]
async fn the_same_document_again_changes_nothing() {
    let (state, store, ma) = (State::new("again"), Store::in_memory().unwrap(), Ma::new());
    let accounts = accounts(&store, &state);
    let document = document(&[ma.account("one.example")]);
    accounts
        .bootstrap(&document, Overwrite::Refuse, begin(&store))
        .await
        .unwrap();
    let before = (
        store.scan(Table::Accounts, "").unwrap(),
        store.scan(Table::Alerts, "").unwrap(),
    );
    for overwrite in [Overwrite::Refuse, Overwrite::Replace] {
        let outcome = accounts
            .bootstrap(&document, overwrite, begin(&store))
            .await
            .unwrap();
        assert_eq!(outcome[0].change, Change::Unchanged);
    }
    let after = (
        store.scan(Table::Accounts, "").unwrap(),
        store.scan(Table::Alerts, "").unwrap(),
    );
    assert_eq!(before, after);
    assert_eq!(before.1.len(), 1, "one BootstrapComplete");
    assert_eq!(state.keys().len(), 1);
}

#[tokio::test]
async fn nobody_takes_over_an_account_unasked() {
    let (state, store) = (State::new("takeover"), Store::in_memory().unwrap());
    let (ma, rogue) = (Ma::new(), Ma::new());
    let accounts = accounts(&store, &state);
    let theirs = document(&[ma.account("one.example")]);
    accounts
        .bootstrap(&theirs, Overwrite::Refuse, begin(&store))
        .await
        .unwrap();
    let (before, keys) = (accounts.list().unwrap(), state.keys());

    // A new account in the same document is not taken either.
    let rogue = document(&[rogue.account("new.example"), rogue.account("one.example")]);
    let error = accounts
        .bootstrap(&rogue, Overwrite::Refuse, begin(&store))
        .await
        .unwrap_err();
    assert!(matches!(&error, BootstrapError::Exists { srv_id } if srv_id == "one.example"));
    assert_eq!(accounts.list().unwrap(), before);
    assert_eq!(state.keys(), keys);

    let mut more = ma.account("one.example");
    more.permitted_moids.push("urn:oma:mo:c:1.0".into());
    let more = document(&[more]);
    let outcome = accounts
        .bootstrap(&more, Overwrite::Refuse, begin(&store))
        .await;
    let error = outcome.unwrap_err().to_string();
    assert!(error.contains("--replace"), "{error}");

    let outcome = accounts
        .bootstrap(&rogue, Overwrite::Replace, begin(&store))
        .await
        .unwrap();
    assert_eq!(
        [outcome[0].change, outcome[1].change],
        [Change::Added, Change::Replaced]
    );
    assert_eq!(
        outcome[1].account.miid, before[0].miid,
        "the instance stays"
    );
    assert_eq!(state.keys().len(), 2, "the replaced key is gone");
    assert!(!state.keys().contains(&keys[0]));
}

#[tokio::test]
async fn what_is_refused_and_why() {
    let (state, store, ma) = (
        State::new("refused"),
        Store::in_memory().unwrap(),
        Ma::new(),
    );
    let accounts = accounts(&store, &state);
    let stranger = Ca::new("stranger").client("device");
    type Damage<'a> = Box<dyn Fn(&mut protocol::Account) + 'a>;
    let rows: Vec<(Damage<'_>, &str)> = vec![
        (Box::new(|a| a.srv_id = "local:operator".into()), "reserved"),
        (Box::new(|a| a.srv_id = "server:x".into()), "reserved"),
        (Box::new(|a| a.srv_id = "*".into()), "reserved"),
        (
            Box::new(|a| a.srv_uri = "http://one.example/dm".into()),
            "https://",
        ),
        (
            Box::new(|a| a.srv_uri = "https://me@one.example/dm".into()),
            "https://",
        ),
        (
            Box::new(|a| a.permitted_moids.push("urn:*".into())),
            "each MOID in full",
        ),
        (Box::new(|a| a.auth.anchors_der.clear()), "no anchors"),
        (
            Box::new(|a| a.auth.trsp.as_mut().unwrap().secret = stranger.key_der.clone().into()),
            "does not belong",
        ),
        (
            Box::new(|a| a.auth.trsp.as_mut().unwrap().secret = b"?".to_vec().into()),
            "private key is not",
        ),
        (
            Box::new(|a| a.auth.trsp.as_mut().unwrap().data = b"?".to_vec()),
            "certificate chain is unusable",
        ),
    ];
    for (damage, expected) in rows {
        let mut damaged = ma.account("one.example");
        damage(&mut damaged);
        let good = ma.account("good.example");
        let outcome = accounts
            .bootstrap(
                &document(&[good, damaged]),
                Overwrite::Replace,
                begin(&store),
            )
            .await;
        let error = outcome.unwrap_err().to_string();
        assert!(error.contains(expected), "{expected:?}: {error}");
        assert_eq!(accounts.list().unwrap(), []);
        assert_eq!(state.keys(), Vec::<PathBuf>::new());
    }
    let many: Vec<_> = (0..65)
        .map(|n| ma.account(&format!("s{n}.example")))
        .collect();
    let error = accounts
        .bootstrap(&document(&many), Overwrite::Refuse, begin(&store))
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            BootstrapError::TooMany {
                found: 65,
                limit: 64
            }
        ),
        "{error}"
    );
    let error = accounts
        .bootstrap(b"[]", Overwrite::Refuse, begin(&store))
        .await
        .unwrap_err();
    assert!(matches!(error, BootstrapError::Document(_)), "{error}");
    assert_eq!(accounts.list().unwrap(), []);
}

/// A store that takes nothing.
#[derive(Default)]
struct Full(Memory);

impl Backend for Full {
    fn get(&self, table: Table, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.get(table, key)
    }

    fn scan(&self, table: Table, prefix: &str) -> Result<Rows, StoreError> {
        self.0.scan(table, prefix)
    }

    fn commit(&self, _: &Batch) -> Result<(), StoreError> {
        Err(StoreError::Full { attempt: "write" })
    }
}

#[tokio::test]
async fn a_commit_that_fails_leaves_no_secrets() {
    let (state, ma) = (State::new("fails"), Ma::new());
    let store = Store::over(Full::default()).unwrap();
    let accounts = accounts(&store, &state);
    let document = document(&[ma.account("one.example")]);
    accounts
        .bootstrap(&document, Overwrite::Refuse, begin(&store))
        .await
        .unwrap_err();
    assert_eq!(state.keys(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn secrets_in_vain_go_at_the_next_start() {
    let (state, store, ma) = (State::new("vain"), Store::in_memory().unwrap(), Ma::new());
    let first = accounts(&store, &state);
    first
        .bootstrap(
            &document(&[ma.account("one.example")]),
            Overwrite::Refuse,
            begin(&store),
        )
        .await
        .unwrap();
    for foreign in ["code.key", "x.pem", "README"] {
        std::fs::write(state.0.join("keys").join(foreign), "another room's").unwrap();
    }
    let keys = state.keys();
    for orphan in [
        "00000000000000000000000000000000.pem",
        "00000000000000000000000000000000.pem-new",
    ] {
        std::fs::write(state.0.join("keys").join(orphan), "orphan").unwrap();
    }
    let again = accounts(&store, &state);
    assert_eq!(state.keys(), keys);
    let one = Authority::server("one.example");
    trust(&again, &state, &one).await.unwrap();
}

#[tokio::test]
async fn every_secret_of_an_account_is_kept_and_goes_with_it() {
    let (state, store, ma) = (State::new("every"), Store::in_memory().unwrap(), Ma::new());
    let accounts = accounts(&store, &state);
    let mut account = ma.account("one.example");
    account.auth.noti = Some(NotiAuth {
        kind: NotiAuth::SHA256,
        data: b"auth data".to_vec(),
        secret: b"noti secret".to_vec().into(),
    });
    account.auth.bootstrap = Some(BootstrapAuth {
        server_uri: "https://bootstrap.example/".into(),
        sec_mode: SecMode::Psk,
        client_public: b"device-1".to_vec(),
        server_public: b"server".to_vec(),
        client_secret: b"shared".to_vec().into(),
    });
    let document = document(&[account, ma.account("two.example")]);
    accounts
        .bootstrap(&document, Overwrite::Refuse, begin(&store))
        .await
        .unwrap();
    assert_eq!(state.keys().len(), 4);
    let one = Authority::server("one.example");
    let stored = accounts.get(&one).unwrap().unwrap();
    let noti = stored.notification.unwrap();
    assert_eq!(noti.data, b"auth data");
    assert_eq!(
        std::fs::read(accounts.inner.secrets.path(&noti.secret)).unwrap(),
        b"noti secret"
    );
    assert!(!stored.bootstrap_server.unwrap().certificates);

    trust(&accounts, &state, &one).await.unwrap();
    accounts.remove(&one).await.unwrap();
    assert_eq!(state.keys().len(), 1);
    assert!(matches!(
        trust(&accounts, &state, &one).await,
        Err(AccountError::Unknown { .. })
    ));
    assert_eq!(store.scan(Table::Alerts, "one.example").unwrap(), []);
    let again = accounts.remove(&one).await.unwrap_err();
    assert!(matches!(again, AccountError::Unknown { .. }));
    let left = accounts.list().unwrap();
    let names: Vec<_> = left.iter().map(|a| a.authority.as_str()).collect();
    assert_eq!(names, ["two.example"]);
    accounts
        .bootstrap(
            &self::document(&[ma.account("new.example")]),
            Overwrite::Refuse,
            begin(&store),
        )
        .await
        .unwrap();
    let new = accounts.get(&Authority::server("new.example"));
    assert_ne!(new.unwrap().unwrap().miid, left[0].miid);
}

#[tokio::test]
async fn trust_follows_a_replaced_account() {
    let (state, store) = (State::new("follows"), Store::in_memory().unwrap());
    let accounts = accounts(&store, &state);
    let one = Authority::server("one.example");
    let theirs = document(&[Ma::new().account("one.example")]);
    accounts
        .bootstrap(&theirs, Overwrite::Refuse, begin(&store))
        .await
        .unwrap();
    let before = trust(&accounts, &state, &one).await.unwrap();
    assert!(
        Rc::ptr_eq(&before, &trust(&accounts, &state, &one).await.unwrap()),
        "made once"
    );
    let mut other = Ma::new().account("one.example");
    other.auth.trsp = None;
    accounts
        .bootstrap(&document(&[other]), Overwrite::Replace, begin(&store))
        .await
        .unwrap();
    let after = trust(&accounts, &state, &one).await.unwrap();
    assert!(!after.has_identity());
}

#[tokio::test]
async fn a_lost_key_is_named() {
    let (state, store, ma) = (State::new("lost"), Store::in_memory().unwrap(), Ma::new());
    let accounts = accounts(&store, &state);
    let document = document(&[ma.account("one.example")]);
    accounts
        .bootstrap(&document, Overwrite::Refuse, begin(&store))
        .await
        .unwrap();
    std::fs::remove_file(&state.keys()[0]).unwrap();
    let one = Authority::server("one.example");
    let error = trust(&accounts, &state, &one).await.unwrap_err();
    assert!(
        matches!(error, AccountError::Key(KeyError::NoKey { .. })),
        "{error}"
    );
}

#[tokio::test]
async fn objects_go_to_the_first_account_or_stop_everything() {
    let (state, store, ma) = (
        State::new("objects"),
        Store::in_memory().unwrap(),
        Ma::new(),
    );
    let accounts = accounts(&store, &state);
    let item = |uri: &str| MoItem::from_nodes(uri.into(), "x", &[], None);
    let with = |objects: Vec<MoItem>| {
        let accounts = vec![ma.account("one.example"), ma.account("two.example")];
        BootstrapDocument { accounts, objects }.to_bytes()
    };
    let bad = with(vec![item("urn:good:1.0//"), item("urn:bad:1.0//")]);
    let error = accounts
        .bootstrap(&bad, Overwrite::Refuse, begin(&store))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the object urn:bad:1.0// of the document: it is bad"
    );
    assert_eq!(accounts.list().unwrap(), []);
    assert_eq!(state.keys(), Vec::<PathBuf>::new());

    let good = with(vec![item("urn:good:1.0//"), item("urn:fine:1.0//")]);
    let stored = Rc::new(RefCell::new(Vec::new()));
    for expected in [2, 2] {
        let begin = |owner: &Authority| {
            assert_eq!(owner.as_str(), "one.example");
            Plain {
                tx: Rc::new(store.begin()),
                stored: stored.clone(),
            }
        };
        accounts
            .bootstrap(&good, Overwrite::Refuse, begin)
            .await
            .unwrap();
        assert_eq!(
            stored.borrow().len(),
            expected,
            "once, and not again with the same document"
        );
    }
    assert_eq!(accounts.list().unwrap().len(), 2);
}

#[test]
fn names_of_secrets_lead_nowhere() {
    for (name, valid) in [
        ("0123456789abcdef0123456789abcdef.pem", true),
        ("../0123456789abcdef0123456789abc.pem", false),
        ("0123456789abcdef0123456789abcdef", false),
        ("0123.pem", false),
        ("", false),
    ] {
        assert_eq!(
            SecretName::try_from(name.to_owned()).is_ok(),
            valid,
            "{name}"
        );
    }
}

/// A credential of one.example, made from this certificate.
fn credential(role: Role, chain_der: Vec<Vec<u8>>, added: u64) -> Credential {
    Credential {
        authority: Authority::server("one.example"),
        id: fingerprint(&chain_der[0])[..16].to_owned(),
        role,
        chain_der,
        purposes: [Purpose::Sessions].into(),
        origins: [Origin::Session].into(),
        state: Standing::Active,
        added,
    }
}

async fn put(store: &Store, credentials: &[&Credential]) {
    let tx = store.begin();
    for credential in credentials {
        credential.put(&tx).unwrap();
    }
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn the_newest_identity_that_counts_is_shown_and_one_on_trial_before_it() {
    let (state, store, ma) = (State::new("newest"), Store::in_memory().unwrap(), Ma::new());
    let accounts = accounts(&store, &state);
    let one = Authority::server("one.example");
    accounts
        .bootstrap(
            &document(&[ma.account("one.example")]),
            Overwrite::Refuse,
            begin(&store),
        )
        .await
        .unwrap();
    let shown = async || {
        accounts.forget_trust(&one);
        let trust = trust(&accounts, &state, &one).await.unwrap();
        trust.identity().unwrap().id()
    };
    let own = shown().await;
    let identity = |number: u8| {
        let issued = ma.ca.client("device");
        let name = format!("{}.key", format!("{number:02x}").repeat(16));
        std::fs::write(state.0.join("keys").join(&name), &issued.key_pem).unwrap();
        let key = KeyRef::File(name);
        credential(Role::Identity { key }, issued.chain_der, number.into())
    };
    let (older, mut newer, mut trial) = (identity(1), identity(2), identity(3));
    trial.state = Standing::Trial {
        replaces: newer.id.clone(),
    };
    put(&store, &[&older]).await;
    assert_eq!(shown().await, older.id);
    assert_ne!(own, older.id);
    put(&store, &[&newer]).await;
    assert_eq!(shown().await, newer.id);
    put(&store, &[&trial]).await;
    assert_eq!(shown().await, trial.id);
    // Its session fails: the one before it again.
    accounts.set_aside(&one, &trial.id);
    assert_eq!(shown().await, newer.id);
    newer.state = Standing::Suspended;
    put(&store, &[&newer]).await;
    assert_eq!(shown().await, older.id);
    let mut other = older.clone();
    other.purposes = [Purpose::Applications].into();
    put(&store, &[&other]).await;
    assert_eq!(shown().await, own);

    // What no certificate refers to goes with the next start, and nothing else does.
    let keys = state.keys().len();
    let tx = store.begin();
    trial.remove(&tx);
    tx.commit().await.unwrap();
    self::accounts(&store, &state);
    assert_eq!(state.keys().len(), keys - 1);
    assert_eq!(shown().await, own);
}

#[tokio::test]
async fn a_key_on_trial_that_is_lost_is_passed_over_and_another_is_named() {
    let (state, store, ma) = (State::new("trial"), Store::in_memory().unwrap(), Ma::new());
    let accounts = accounts(&store, &state);
    let one = Authority::server("one.example");
    accounts
        .bootstrap(
            &document(&[ma.account("one.example")]),
            Overwrite::Refuse,
            begin(&store),
        )
        .await
        .unwrap();
    let key = KeyRef::File(format!("{}.key", "00".repeat(16)));
    let chain = ma.ca.client("device").chain_der;
    let mut lost = credential(Role::Identity { key }, chain, 1);
    lost.state = Standing::Trial {
        replaces: String::new(),
    };
    put(&store, &[&lost]).await;
    let shown = trust(&accounts, &state, &one).await.unwrap();
    assert_ne!(shown.identity().unwrap().id(), lost.id);
    lost.state = Standing::Active;
    put(&store, &[&lost]).await;
    accounts.forget_trust(&one);
    let error = trust(&accounts, &state, &one).await.unwrap_err();
    assert!(error.to_string().contains("there is no key"), "{error}");
}
