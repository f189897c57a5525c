//! For tests: a card as its issuer makes it, two authorities, and what there is before.

use std::collections::BTreeSet;

use bailiwick_protocol as protocol;
use bailiwick_protocol::bootstrap::BootstrapDocument;

use super::plan::There;
use super::policy::{Line, Policy};
use super::prove::Proofs;
use super::step::Step;
use crate::accounts::{Source, prepare};
use crate::authority::Authority;
use crate::certificates::testing::{Ca, Issued};
use crate::certificates::{Origin, Purpose};
use crate::config::OnRemoval;
use crate::keys::{
    CardId, CardKind, Contents, Effort, FoundCertificate, FoundKey, FoundObject, KeyKind, KeyRef,
    PinState, Shelf,
};

/// 2026-01-01.
pub(super) const NOW: u64 = 1_767_225_600;

/// The authorities north and south, each with a CA, and the CA that issues to north's cards.
pub(super) struct Bench {
    pub(super) north_ca: Ca,
    pub(super) south_ca: Ca,
    pub(super) card_ca: Ca,
}

/// A card with what its keys have proved.
#[derive(Clone)]
pub(super) struct Card {
    pub(super) contents: Contents,
    pub(super) proofs: Proofs,
}

pub(super) fn north() -> Authority {
    Authority::server("north")
}

pub(super) fn south() -> Authority {
    Authority::server("south")
}

impl Bench {
    pub(super) fn new() -> Self {
        Self {
            north_ca: Ca::new("North CA"),
            south_ca: Ca::new("South CA"),
            card_ca: Ca::new("Card CA"),
        }
    }

    /// A line for north, by the CA that issues to its cards.
    pub(super) fn line(&self) -> Line {
        Line {
            number: 1,
            authority: north(),
            issuer: Some(self.card_ca.der()),
            certificate: None,
            serial: None,
            purposes: [Purpose::Sessions].into(),
            on_removal: OnRemoval::Suspend,
        }
    }

    pub(super) fn policy(&self) -> Policy {
        Policy::of(vec![self.line()])
    }

    /// North's card: its CA and the card CA as anchors, an identity, and its account.
    pub(super) fn card(&self) -> Card {
        let mut card = Card::empty("8949000000000000001");
        card.certificate(Shelf::Trusted, "01", self.north_ca.der());
        card.certificate(Shelf::Trusted, "02", self.card_ca.der());
        card.identity("45", &self.card_ca.client("device"));
        card.document(&[account("north")], Vec::new());
        card
    }

    /// South has an account from a document, an anchor from the operator, and one from a card of its own.
    pub(super) fn there(&self) -> There {
        let mut there = There::default();
        let mut south = account("south");
        south.auth.anchors_der = vec![self.south_ca.der()];
        let prepared = prepare(&south, &Source::DOCUMENT).unwrap();
        let mut account = prepared.account().clone();
        account.miid = "1".into();
        there
            .accounts
            .push((account, prepared.permitted().to_vec()));
        for (ca, origin) in [
            (
                Ca::new("South, by the operator"),
                Origin::File("/ca.pem".into()),
            ),
            (
                Ca::new("South, by its card"),
                Origin::Card {
                    card: souths_card(),
                    path: "3F00".into(),
                },
            ),
        ] {
            let offer = super::Offer {
                authority: self::south(),
                role: crate::certificates::Role::Anchor,
                chain_der: vec![ca.der()],
                purposes: [Purpose::Sessions].into(),
                origin,
            };
            let credential = super::give::with(None, offer, NOW).unwrap();
            there.credentials.push(credential);
        }
        there.present = [souths_card()].into();
        there
    }
}

pub(super) fn souths_card() -> CardId {
    CardId {
        kind: CardKind::Pkcs15,
        serial: "8949000000000000002".into(),
    }
}

/// A DM account as documents have it, without credentials.
pub(super) fn account(srv_id: &str) -> protocol::Account {
    protocol::Account {
        srv_id: srv_id.into(),
        srv_uri: "https://dm.example/dm".into(),
        name: srv_id.into(),
        permitted_moids: vec!["urn:oma:mo:x:1.0".into()],
        ..Default::default()
    }
}

impl Card {
    pub(super) fn empty(serial: &str) -> Self {
        Self {
            contents: Contents {
                card: CardId {
                    kind: CardKind::Pkcs15,
                    serial: serial.into(),
                },
                label: "OMA DM card".into(),
                certificates: Vec::new(),
                keys: Vec::new(),
                objects: Vec::new(),
                skipped: Vec::new(),
                effort: Effort::default(),
            },
            proofs: Proofs::default(),
        }
    }

    pub(super) fn certificate(&mut self, shelf: Shelf, id: &str, der: Vec<u8>) {
        let path = format!("3F005015{:04X}", 0x4331 + self.contents.certificates.len());
        self.contents.certificates.push(FoundCertificate {
            shelf,
            id: id.into(),
            label: "certificate".into(),
            path,
            der,
        });
    }

    pub(super) fn key(&mut self, id: &str) -> KeyRef {
        let key = KeyRef::Card {
            card: self.contents.card.clone(),
            key: id.into(),
        };
        self.contents.keys.push(FoundKey {
            key: key.clone(),
            id: id.into(),
            label: "key".into(),
            kind: KeyKind::EcP256,
            pin: PinState::Known,
        });
        key
    }

    /// A certificate and its key, which has signed.
    pub(super) fn identity(&mut self, id: &str, issued: &Issued) {
        let der = issued.chain_der[0].clone();
        self.certificate(Shelf::Own, id, der.clone());
        let key = self.key(id);
        self.proofs.add(&der, key);
    }

    pub(super) fn object(&mut self, oid: &str, bytes: Vec<u8>) {
        let path = format!("3F005015{:04X}", 0x6430 + self.contents.objects.len());
        self.contents.objects.push(FoundObject {
            oid: oid.into(),
            label: "bootstrap".into(),
            path,
            bytes,
        });
    }

    pub(super) fn document(
        &mut self,
        accounts: &[protocol::Account],
        objects: Vec<protocol::MoItem>,
    ) {
        let document = BootstrapDocument {
            accounts: accounts.to_vec(),
            objects,
        };
        self.object(super::DM_BOOTSTRAP, document.to_bytes());
    }
}

/// What there is after these steps; what documents bring besides accounts is left out.
pub(super) fn after<'a>(mut there: There, steps: impl IntoIterator<Item = &'a Step>) -> There {
    for step in steps {
        match step {
            Step::Credential { before, after } => {
                there.credentials.retain(|c| Some(c) != before.as_ref());
                there.credentials.extend(after.clone());
            }
            Step::Account { prepared, .. } => {
                let account = prepared.account().clone();
                there
                    .accounts
                    .retain(|(old, _)| old.authority != account.authority);
                there
                    .accounts
                    .push((account, prepared.permitted().to_vec()));
            }
            Step::Rest { account, suspended } => {
                for (there, _) in &mut there.accounts {
                    if there.authority == account.authority {
                        there.suspended = *suspended;
                    }
                }
            }
            Step::Remove { account } => {
                there
                    .accounts
                    .retain(|(old, _)| old.authority != account.authority);
            }
        }
    }
    there
}

/// Of one authority alone.
pub(super) fn of(there: &There, authority: &Authority) -> There {
    let mut of = there.clone();
    of.accounts
        .retain(|(account, _)| account.authority == *authority);
    of.credentials
        .retain(|credential| credential.authority == *authority);
    of.present = BTreeSet::new();
    of
}
