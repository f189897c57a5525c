//! Cards and certificates, as the interface shows them.

use serde::Serialize;

use crate::certificates::{Credential, Description, Role, State, pem};
use crate::keys::{CardKind, Contents, KeyKind, PinState, ReaderState, Shelf};
use crate::provisioning::{LinePlan, Plan, Refusal, SeenCard, Shown, Step, place_name};

/// A reader, the card in it, and what the device policy makes of it.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Card {
    reader: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    certificates: Vec<Certificate>,
    keys: Vec<Key>,
    objects: Vec<Object>,
    skipped: Vec<String>,
    lines: Vec<Line>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// A certificate on a card.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Certificate {
    shelf: &'static str,
    id: String,
    path: String,
    subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_after: Option<i64>,
}

/// A key on a card.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Key {
    id: String,
    label: String,
    kind: &'static str,
    pin: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tries_left: Option<u8>,
}

/// A data object on a card.
#[derive(Clone, Debug, Serialize)]
struct Object {
    oid: String,
    label: String,
    path: String,
    bytes: usize,
}

/// What a line of the device policy makes of a card.
#[derive(Clone, Debug, Serialize)]
struct Line {
    line: usize,
    authority: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    unbound: Option<String>,
    steps: Vec<Shown>,
    refusals: Vec<Refusal>,
}

/// A certificate that was provisioned.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Provisioned {
    authority: String,
    id: String,
    role: &'static str,
    #[serde(flatten)]
    described: Description,
    purposes: Vec<String>,
    origins: Vec<String>,
    state: &'static str,
    added: u64,
    chain: Vec<String>,
}

impl Card {
    /// A reader, with what its card would change now.
    pub(super) fn seen(seen: &SeenCard, plan: Option<&Plan>) -> Self {
        let card = Self {
            reader: place_name(&seen.reader.place).to_owned(),
            state: match seen.reader.state {
                ReaderState::Empty => "empty",
                ReaderState::Card(_) => "card",
                ReaderState::Mute => "mute",
                ReaderState::Taken => "taken",
                ReaderState::Wedged => "wedged",
            },
            problem: seen.problem.clone(),
            ..Self::default()
        };
        match &seen.read {
            Some(read) => card.with(&read.0, plan),
            None => card,
        }
    }

    /// A card that was read just now.
    pub(super) fn read(reader: String, contents: &Contents, plan: &Plan) -> Self {
        let card = Self {
            reader,
            state: "card",
            ..Self::default()
        };
        card.with(contents, Some(plan))
    }

    fn with(mut self, contents: &Contents, plan: Option<&Plan>) -> Self {
        use crate::certificates::printable;
        self.serial = Some(contents.card.serial.clone());
        self.kind = Some(match contents.card.kind {
            CardKind::Pkcs15 => "pkcs15",
            CardKind::Piv => "piv",
            CardKind::Pkcs11 => "pkcs11",
        });
        self.label = Some(printable(&contents.label));
        let certificates = contents.certificates.iter().map(|found| {
            let described = Description::of(&found.der);
            Certificate {
                shelf: match found.shelf {
                    Shelf::Trusted => "trusted",
                    Shelf::Own => "own",
                    Shelf::Useful => "useful",
                },
                id: printable(&found.id),
                path: printable(&found.path),
                not_after: described.as_ref().ok().map(|d| d.not_after),
                subject: described.map_or_else(|_| printable(&found.label), |d| d.subject),
            }
        });
        self.certificates = certificates.collect();
        let keys = contents.keys.iter().map(|found| Key {
            id: printable(&found.id),
            label: printable(&found.label),
            kind: match found.kind {
                KeyKind::Rsa => "RSA",
                KeyKind::EcP256 => "EC P-256",
                KeyKind::EcP384 => "EC P-384",
                KeyKind::Ed25519 => "Ed25519",
            },
            pin: match found.pin {
                PinState::NotNeeded => "not needed",
                PinState::Known => "known",
                PinState::Needed(_) => "needed",
                PinState::Blocked => "blocked",
            },
            tries_left: match found.pin {
                PinState::Needed(left) => left,
                _ => None,
            },
        });
        self.keys = keys.collect();
        let objects = contents.objects.iter().map(|found| Object {
            oid: printable(&found.oid),
            label: printable(&found.label),
            path: printable(&found.path),
            bytes: found.bytes.len(),
        });
        self.objects = objects.collect();
        self.skipped = contents
            .skipped
            .iter()
            .map(|text| printable(text))
            .collect();
        let lines = plan.into_iter().flat_map(|plan| &plan.lines);
        self.lines = lines.map(Line::of).collect();
        self
    }
}

impl Line {
    fn of(line: &LinePlan) -> Self {
        Self {
            line: line.line,
            authority: line.authority.to_string(),
            unbound: line.unbound.clone(),
            steps: line.steps.iter().map(Step::shown).collect(),
            refusals: line.refusals.clone(),
        }
    }
}

impl Provisioned {
    /// `None`: what is stored is no certificate.
    pub(super) fn of(credential: &Credential) -> Option<Self> {
        Some(Self {
            authority: credential.authority.to_string(),
            id: credential.id.clone(),
            role: match credential.role {
                Role::Anchor => "anchor",
                Role::Identity { .. } => "identity",
                Role::Intermediate => "intermediate",
            },
            described: Description::of(credential.der()).ok()?,
            purposes: credential
                .purposes
                .iter()
                .map(ToString::to_string)
                .collect(),
            origins: credential.origins.iter().map(ToString::to_string).collect(),
            state: match credential.state {
                State::Active => "active",
                State::Suspended => "suspended",
                State::Trial { .. } => "trial",
            },
            added: credential.added,
            chain: credential.chain_der.iter().map(|der| pem(der)).collect(),
        })
    }
}
