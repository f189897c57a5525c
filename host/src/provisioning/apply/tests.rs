//! A plan is applied as a whole or not at all, once, and taken back when its card goes.

use std::path::{Path, PathBuf};

use bailiwick_protocol::MoItem;
use bailiwick_protocol::bootstrap::TrspAuth;

use super::super::testing::{Bench, Card, NOW, account, north, south};
use super::*;
use crate::accounts::{AccountError, Suspended};
use crate::certificates::State;
use crate::config::OnRemoval;
use crate::keys::{Shelf, testing};
use crate::objects::testing::{MOID, Scene, tree};
use crate::provisioning::Line;
use crate::store::faults::{Fault, FaultSwitch, Faulty, Memory};
use crate::store::{Rows, Table};

/// A device with the rooms that provisioning uses; its state goes with the test.
struct Device {
    state: PathBuf,
    scene: Scene,
    switch: FaultSwitch,
    accounts: Accounts,
    provisioning: Provisioning,
}

impl Drop for Device {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.state);
    }
}

impl Device {
    async fn new(name: &str, policy: Policy) -> Self {
        let state = std::env::temp_dir().join(format!("bw-{name}-{}", std::process::id()));
        let _old = std::fs::remove_dir_all(&state);
        std::fs::create_dir(&state).unwrap();
        let (backend, switch) = Faulty::new(Memory::default());
        let scene = Scene::over(Store::over(backend).unwrap(), &[]).await;
        let (store, permissions) = (scene.store.clone(), scene.permissions.clone());
        let accounts = Accounts::new(store.clone(), permissions.clone(), &state).unwrap();
        let provisioning = Provisioning::new(
            store,
            accounts.clone(),
            permissions,
            scene.objects.clone(),
            policy,
        );
        Self {
            state,
            scene,
            switch,
            accounts,
            provisioning,
        }
    }

    async fn insert(&self, card: &Card) -> Result<Applied, ProvisioningError> {
        let Card { contents, proofs } = card;
        let present = || [contents.card.clone()].into();
        self.provisioning
            .provision(contents, proofs, present, NOW)
            .await
    }

    async fn pull(&self) -> Result<Applied, ProvisioningError> {
        self.provisioning.settle(BTreeSet::new, NOW + 1).await
    }

    /// Everything that is stored.
    fn rows(&self) -> Vec<Rows> {
        let store = &self.scene.store;
        Table::ALL
            .map(|table| store.scan(table, "").unwrap())
            .into()
    }

    /// Where something is stored; the names of new accounts are random.
    fn keys(&self) -> Vec<String> {
        let miids: Vec<_> = self.accounts.list().unwrap();
        let rows = self.rows().into_iter().flatten().map(|(key, _)| {
            let miid = miids.iter().find(|account| key.ends_with(&account.miid));
            miid.map_or(key.clone(), |account| key.replace(&account.miid, "MIID"))
        });
        rows.collect()
    }

    fn secrets(&self) -> usize {
        std::fs::read_dir(self.state.join("keys")).map_or(0, Iterator::count)
    }
}

#[tokio::test]
async fn a_plan_is_applied_once_and_written_down() {
    let bench = Bench::new();
    let (card, device) = (bench.card(), Device::new("apply", bench.policy()).await);
    let applied = device.insert(&card).await.unwrap();
    assert_eq!(applied.bootstrapped, [north()].into());
    assert_eq!(applied.steps.len(), 4);

    let account = device.accounts.get(&north()).unwrap().unwrap();
    assert_eq!(account.origin.card(), Some(&card.contents.card));
    assert_eq!(device.provisioning.credentials().unwrap().len(), 3);
    let alerts = device.scene.store.scan(Table::Alerts, "north").unwrap();
    assert_eq!(alerts.len(), 1, "BootstrapComplete");
    let audit = device.provisioning.audit().unwrap();
    assert_eq!(audit.len(), 1);
    assert_eq!((audit[0].at, &audit[0].steps), (NOW, &applied.steps));
    assert!(audit[0].source.contains(&card.contents.card.serial));

    let before = device.rows();
    let again = device.insert(&card).await.unwrap();
    assert_eq!(again, Applied::default());
    assert_eq!(device.rows(), before);
}

#[tokio::test]
async fn what_a_card_gave_rests_while_it_is_away() {
    let bench = Bench::new();
    let (card, device) = (bench.card(), Device::new("rests", bench.policy()).await);
    device.insert(&card).await.unwrap();
    let gone = device.pull().await.unwrap();
    assert_eq!(gone.at_rest, [north()].into());
    let account = device.accounts.get(&north()).unwrap().unwrap();
    assert_eq!(account.suspended, Some(Suspended::CardAway));
    let keys = testing::keys(Path::new("/nowhere"));
    let error = device.accounts.trust(&north(), &keys).await.unwrap_err();
    assert!(matches!(error, AccountError::Suspended { .. }), "{error}");
    assert!(error.to_string().contains("insert it"), "{error}");
    let credentials = device.provisioning.credentials().unwrap();
    assert!(credentials.iter().all(|c| c.state == State::Suspended));

    let before = device.rows();
    assert_eq!(device.pull().await.unwrap(), Applied::default());
    assert_eq!(device.rows(), before, "gone is gone");
    // A card that was pulled while it was read comes too late.
    let Card { contents, proofs } = &card;
    let late = device
        .provisioning
        .provision(contents, proofs, BTreeSet::new, NOW);
    assert_eq!(late.await.unwrap(), Applied::default());
    // A card that does not prove its keys is no card.
    let mut mute = card.clone();
    mute.proofs = Proofs::default();
    assert!(device.insert(&mute).await.unwrap().awake.is_empty());

    let back = device.insert(&card).await.unwrap();
    assert_eq!(back.awake, [north()].into());
    assert!(back.bootstrapped.is_empty(), "its server knows already");
    let credentials = device.provisioning.credentials().unwrap();
    assert!(credentials.iter().all(|c| c.state == State::Active));
}

#[tokio::test]
async fn what_a_card_gave_goes_with_it_where_the_line_says_so() {
    let bench = Bench::new();
    let line = Line {
        on_removal: OnRemoval::Remove,
        ..bench.line()
    };
    let device = Device::new("goes", Policy::of(vec![line])).await;
    let before = device.keys();
    device.insert(&bench.card()).await.unwrap();
    let gone = device.pull().await.unwrap();
    assert_eq!(gone.steps.len(), 4);
    assert!(device.accounts.list().unwrap().is_empty());
    assert!(device.provisioning.credentials().unwrap().is_empty());
    let left: Vec<_> = device.keys();
    // What is left are the two entries that tell of it, and south; north's rights went with its account.
    assert_eq!(device.provisioning.audit().unwrap().len(), 2);
    assert!(left.len() <= before.len() + 2, "{left:?}");
}

#[tokio::test]
async fn a_line_that_is_taken_out_lets_rest_what_it_bound() {
    let bench = Bench::new();
    let device = Device::new("unbound", bench.policy()).await;
    let card = bench.card();
    device.insert(&card).await.unwrap();
    let rooms = &device.scene;
    let without = Provisioning::new(
        rooms.store.clone(),
        device.accounts.clone(),
        rooms.permissions.clone(),
        rooms.objects.clone(),
        Policy::default(),
    );
    let present: BTreeSet<_> = [card.contents.card.clone()].into();
    let settled = without.settle(|| present.clone(), NOW).await.unwrap();
    assert_eq!(settled.at_rest, [north()].into());
    let account = device.accounts.get(&north()).unwrap().unwrap();
    assert_eq!(account.suspended, Some(Suspended::NotBound));

    let forgotten = without
        .forget(&card.contents.card.serial, present.clone(), NOW)
        .await
        .unwrap();
    assert_eq!(forgotten.steps.len(), 4);
    assert!(device.accounts.list().unwrap().is_empty());
    let nothing = without.forget("1", present, NOW).await.unwrap_err();
    assert!(nothing.to_string().contains("no card 1"), "{nothing}");
}

#[tokio::test]
async fn the_operator_removes_a_certificate() {
    let bench = Bench::new();
    let device = Device::new("remove", bench.policy()).await;
    device.insert(&bench.card()).await.unwrap();
    let id = device.provisioning.credentials().unwrap()[0].id.clone();
    let remove = |id: String| {
        let provisioning = device.provisioning.clone();
        async move { provisioning.remove(&north(), &id, NOW).await }
    };
    assert_eq!(remove(id.clone()).await.unwrap().steps[0].change, "removed");
    assert_eq!(device.provisioning.credentials().unwrap().len(), 2);
    let error = remove(id).await.unwrap_err().to_string();
    assert!(error.contains("bailiwick certs"), "{error}");
}

#[tokio::test]
async fn objects_of_a_document_are_its_authoritys_or_refused() {
    let bench = Bench::new();
    let device = Device::new("objects", bench.policy()).await;
    let theirs = device
        .scene
        .create(&south(), MOID, &tree(&[("ID", "theirs"), ("Setting", "x")]))
        .await;
    let nodes = tree(&[("ID", "rogue"), ("Setting", "y")]);
    let empty = bench.card();
    let with = |uri: String| {
        let mut card = empty.clone();
        card.contents.objects.clear();
        let mut account = account("north");
        account.permitted_moids = vec![MOID.into()];
        card.document(
            &[account],
            vec![MoItem::from_nodes(uri, "root", &nodes, None)],
        );
        card
    };
    let south_before = device.scene.store.scan(Table::Values, "").unwrap();

    // For north there is no such instance, so nothing serves that object.
    device.insert(&with(format!("{theirs}"))).await.unwrap();
    assert_eq!(
        device.scene.store.scan(Table::Values, "").unwrap(),
        south_before
    );
    let owners = || {
        let tx = device.scene.store.begin();
        let instances = device.scene.permissions.instances_of(&tx, MOID).unwrap();
        instances
            .into_iter()
            .map(|(_, record)| record.owner)
            .collect::<Vec<_>>()
    };
    assert_eq!(owners(), [south()]);
    device.pull().await.unwrap();
    device
        .provisioning
        .forget(&empty.contents.card.serial, BTreeSet::new(), NOW)
        .await
        .unwrap();

    let good = device.insert(&with(format!("{MOID}//"))).await.unwrap();
    assert_eq!(good.bootstrapped, [north()].into());
    assert_eq!(
        owners().into_iter().collect::<BTreeSet<_>>(),
        [north(), south()].into()
    );
    let again = device.insert(&with(format!("{MOID}//"))).await.unwrap();
    assert_eq!(again, Applied::default());
}

#[tokio::test]
async fn whatever_the_store_fails_at_nothing_half_is_left() {
    let bench = Bench::new();
    let mut card = bench.card();
    card.contents.objects.clear();
    let mut with_secret = account("north");
    let issued = bench.north_ca.client("device");
    with_secret.auth.trsp = Some(TrspAuth {
        data: issued.chain_der[0].clone(),
        secret: issued.key_der.clone().into(),
    });
    card.document(&[with_secret], Vec::new());
    let whole = Device::new("whole", bench.policy()).await;
    let nothing = whole.keys();
    whole.insert(&card).await.unwrap();
    let everything = whole.keys();
    assert_ne!(nothing, everything);

    let mut failures = 0;
    for fault in [Fault::Io, Fault::Full, Fault::LostAnswer] {
        for n in 1.. {
            let device = Device::new("fault", bench.policy()).await;
            device.switch.fail(n, fault);
            let outcome = device.insert(&card).await;
            if !device.switch.is_over() {
                outcome.unwrap();
                break;
            }
            let failed = outcome.is_err();
            failures += u32::from(failed);
            let left = device.keys();
            match (failed, left == nothing, left == everything) {
                (_, false, false) => panic!("{fault:?} at {n}: half of it is there: {left:?}"),
                (false, true, _) => {
                    panic!("{fault:?} at {n}: nothing is there, and nobody said so")
                }
                (_, is_nothing, _) => assert_eq!(device.secrets(), usize::from(!is_nothing)),
            }
            device.insert(&card).await.unwrap();
            assert_eq!(device.keys(), everything, "{fault:?} at {n}");
        }
    }
    assert!(failures > 10, "{failures}");
}

#[tokio::test]
async fn a_removal_that_fails_ends_after_the_next_start() {
    let bench = Bench::new();
    for n in 1.. {
        let device = Device::new("removal", bench.policy()).await;
        device.insert(&bench.card()).await.unwrap();
        let before = device.rows();
        device.switch.fail(n, Fault::Io);
        let outcome = device.pull().await;
        if !device.switch.is_over() {
            break;
        }
        if outcome.is_err() {
            assert_eq!(device.rows(), before, "at {n}");
        }
        // What a start does.
        device.pull().await.unwrap();
        let account = device.accounts.get(&north()).unwrap().unwrap();
        assert_eq!(account.suspended, Some(Suspended::CardAway));
        let credentials = device.provisioning.credentials().unwrap();
        assert!(credentials.iter().all(|c| c.state == State::Suspended));
    }
}

#[tokio::test]
async fn an_anchor_of_another_source_counts_while_the_card_is_away() {
    let bench = Bench::new();
    let device = Device::new("other", bench.policy()).await;
    let tx = device.scene.store.begin();
    let offer = super::super::Offer {
        authority: north(),
        role: crate::certificates::Role::Anchor,
        chain_der: vec![bench.north_ca.der()],
        purposes: ["sessions".parse().unwrap()].into(),
        origin: crate::certificates::Origin::Session,
    };
    super::super::add(&tx, offer, NOW).unwrap();
    tx.commit().await.unwrap();
    let card = bench.card();
    assert!(
        card.contents
            .certificates
            .iter()
            .any(|c| c.shelf == Shelf::Trusted)
    );
    device.insert(&card).await.unwrap();
    device.pull().await.unwrap();
    let credentials = device.provisioning.credentials().unwrap();
    let counting: Vec<_> = credentials
        .iter()
        .filter(|c| c.state == State::Active)
        .collect();
    assert_eq!(counting.len(), 1);
    assert_eq!(counting[0].der(), bench.north_ca.der());
}
