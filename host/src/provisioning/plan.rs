//! What a card would change: pure. What the card holds, what its keys have proved, the device policy and what there is
//! already make a plan, line by line of the policy.
//!
//! A plan has no place for an authority that no line binds to the card: each line's steps are made for that line's
//! authority, from [`Planner`], which knows no other.

use std::collections::BTreeSet;

use bailiwick_protocol::bootstrap::BootstrapDocument;

use super::document::{DM_BOOTSTRAP, document};
use super::give::{MAX_OF_EACH, Offer, with};
use super::policy::{Line, Policy};
use super::prove::Proofs;
use super::step::Step;
use crate::accounts::{Account, Source, Suspended, prepare};
use crate::authority::Authority;
use crate::certificates::{
    Credential, Description, Origin, Part, Purpose, Role, State, chain, fingerprint, issued_below,
    lint, printable,
};
use crate::config::OnRemoval;
use crate::keys::{CardId, Contents, FoundCertificate, FoundObject, KeyRef, Shelf};

/// What there is already.
#[derive(Clone, Debug, Default)]
pub struct There {
    /// The accounts, and the types that each permits, sorted.
    pub accounts: Vec<(Account, Vec<String>)>,
    /// All credentials.
    pub credentials: Vec<Credential>,
    /// The cards that are in a reader now.
    pub present: BTreeSet<CardId>,
}

/// What a card would change.
#[derive(Clone)]
pub struct Plan {
    /// Which card.
    pub card: CardId,
    /// What it calls itself.
    pub label: String,
    /// A plan for each line of the policy, in their order.
    pub lines: Vec<LinePlan>,
}

/// What a card would change by one line of the policy.
#[derive(Clone)]
pub struct LinePlan {
    /// The line's number, from 1.
    pub line: usize,
    /// For whom.
    pub authority: Authority,
    /// Why the card does not speak for that authority by this line; then there are no steps.
    pub unbound: Option<String>,
    /// What would be done, in this order.
    pub steps: Vec<Step>,
    /// What would not.
    pub refusals: Vec<Refusal>,
}

/// Something on the card that is not taken.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Refusal {
    /// What, and where on the card.
    pub what: String,
    /// Why not.
    pub reason: String,
}

impl Plan {
    /// All steps.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.lines.iter().flat_map(|line| &line.steps)
    }
}

/// Makes the plan for a card, at the Unix time `now` in seconds.
pub fn plan(
    contents: &Contents,
    proofs: &Proofs,
    policy: &Policy,
    there: &There,
    now: u64,
) -> Plan {
    let mut bound = BTreeSet::new();
    let mut whether_bound = Vec::new();
    for line in policy.lines() {
        let speaks = match bound.contains(&line.authority) {
            true => Err("an earlier line binds the card to this authority already".to_owned()),
            false => speaks_for(line, contents, proofs, now),
        };
        if speaks.is_ok() {
            bound.insert(line.authority.clone());
        }
        whether_bound.push(speaks);
    }
    let documents: Vec<_> = contents
        .objects
        .iter()
        .map(|object| (object, read(object)))
        .collect();
    let lines = policy.lines().iter().zip(whether_bound);
    let lines = lines.map(|(line, speaks)| {
        let planner = Planner {
            contents,
            proofs,
            there,
            now,
            line,
            others: &bound,
            offers: Vec::new(),
            steps: Vec::new(),
            refusals: Vec::new(),
        };
        match speaks {
            Ok(()) => planner.run(&documents),
            Err(why) => planner.unbound(why),
        }
    });
    Plan {
        card: contents.card.clone(),
        label: printable(&contents.label),
        lines: lines.collect(),
    }
}

/// Whether all that a line names holds for the card; if not, what does not.
fn speaks_for(line: &Line, contents: &Contents, proofs: &Proofs, now: u64) -> Result<(), String> {
    if let Some(serial) = &line.serial
        && *serial != contents.card.serial
    {
        return Err(format!("its serial number is not {serial}"));
    }
    if line.issuer.is_none() && line.certificate.is_none() {
        return Ok(());
    }
    let useful = of_shelf(contents, Shelf::Useful);
    // The reason of the certificate that came furthest.
    let mut why = (0, "the card has no certificate".to_owned());
    for found in &contents.certificates {
        let proves = || -> Result<(), (u8, String)> {
            if line
                .certificate
                .as_ref()
                .is_some_and(|pin| fingerprint(&found.der) != *pin)
            {
                return Err((
                    1,
                    "the certificate that the line names is not on the card".into(),
                ));
            }
            lint(&found.der, Part::Identity, now).map_err(|unfit| (2, unfit.to_string()))?;
            if let Some(issuer) = &line.issuer {
                let chain = chain(&found.der, &useful, &[issuer], now);
                chain.map_err(|_| {
                    (
                        3,
                        "its certificates are not from the CA that the line names".into(),
                    )
                })?;
            }
            let proof = proofs.of(&found.der).map(drop);
            proof.map_err(|reason| (4, reason.to_owned()))
        };
        match proves() {
            Ok(()) => return Ok(()),
            Err(reason) if reason.0 > why.0 => why = reason,
            Err(_) => {}
        }
    }
    Err(why.1)
}

fn of_shelf(contents: &Contents, shelf: Shelf) -> Vec<&[u8]> {
    let found = contents.certificates.iter();
    let found = found.filter(|found| found.shelf == shelf);
    found.map(|found| found.der.as_slice()).collect()
}

/// A bootstrap object; others of OMA are not for here.
fn read(object: &FoundObject) -> Result<BootstrapDocument, String> {
    match object.oid == DM_BOOTSTRAP {
        true => document(&object.bytes),
        false => Err(format!(
            "{} is not used; {DM_BOOTSTRAP} is",
            printable(&object.oid)
        )),
    }
}

/// Makes the plan of one line.
struct Planner<'a> {
    contents: &'a Contents,
    proofs: &'a Proofs,
    there: &'a There,
    now: u64,
    line: &'a Line,
    /// Whom the card speaks for by any line.
    others: &'a BTreeSet<Authority>,
    offers: Vec<Offer>,
    steps: Vec<Step>,
    refusals: Vec<Refusal>,
}

impl<'a> Planner<'a> {
    fn unbound(self, why: String) -> LinePlan {
        LinePlan {
            line: self.line.number,
            authority: self.line.authority.clone(),
            unbound: Some(why),
            steps: Vec::new(),
            refusals: Vec::new(),
        }
    }

    fn run(
        mut self,
        documents: &[(&'a FoundObject, Result<BootstrapDocument, String>)],
    ) -> LinePlan {
        let mut anchors = self.anchors();
        let account = self.documents(documents, &anchors);
        anchors.extend(account.unwrap_or_default());
        let known: Vec<Vec<u8>> = self.known_anchors();
        anchors.extend(known);
        self.intermediates(&anchors);
        self.identities(&anchors);
        self.credentials();
        LinePlan {
            line: self.line.number,
            authority: self.line.authority.clone(),
            unbound: None,
            steps: self.steps,
            refusals: self.refusals,
        }
    }

    fn refuse(&mut self, what: &str, reason: impl ToString) {
        self.refusals.push(Refusal {
            what: what.to_owned(),
            reason: reason.to_string(),
        });
    }

    fn offer(&mut self, found: &FoundCertificate, role: Role, chain_der: Vec<Vec<u8>>) {
        let offer = Offer {
            authority: self.line.authority.clone(),
            role,
            chain_der,
            purposes: self.line.purposes.clone(),
            origin: self.origin(&found.path),
        };
        let same = |other: &&Offer| other.role.name() == offer.role.name();
        let repeated = self
            .offers
            .iter()
            .any(|other| same(&other) && other.chain_der.first() == offer.chain_der.first());
        let mut ids: BTreeSet<String> = self
            .of_authority()
            .filter(|credential| credential.role.name() == offer.role.name())
            .map(|credential| credential.id.clone())
            .collect();
        let offers = self.offers.iter().filter(same).chain([&offer]);
        ids.extend(
            offers.filter_map(|offer| offer.chain_der.first().map(|der| Credential::id_of(der))),
        );
        if ids.len() > MAX_OF_EACH {
            return self.refuse(
                &what(found),
                format!("the authority would have more than {MAX_OF_EACH} of its kind"),
            );
        }
        if !repeated {
            self.offers.push(offer);
        }
    }

    fn origin(&self, path: &str) -> Origin {
        Origin::Card {
            card: self.contents.card.clone(),
            path: printable(path),
        }
    }

    fn of_authority(&self) -> impl Iterator<Item = &'a Credential> + use<'a> {
        let authority = &self.line.authority;
        self.there
            .credentials
            .iter()
            .filter(move |credential| credential.authority == *authority)
    }

    /// Trusted certificates become anchors; nothing else does.
    fn anchors(&mut self) -> Vec<Vec<u8>> {
        let mut anchors = Vec::new();
        for found in &self.contents.certificates {
            match (found.shelf, lint(&found.der, Part::Anchor, self.now)) {
                (Shelf::Trusted, Ok(_)) => {
                    self.offer(found, Role::Anchor, vec![found.der.clone()]);
                    anchors.push(found.der.clone());
                }
                (Shelf::Trusted, Err(unfit)) => self.refuse(&what(found), unfit),
                _ => {}
            }
        }
        anchors
    }

    /// What the authority's account and its other sources trust already.
    fn known_anchors(&self) -> Vec<Vec<u8>> {
        let account = self
            .account()
            .map(|(account, _)| account.anchors_der.clone());
        let credentials = self.of_authority().filter(|credential| {
            credential.role == Role::Anchor && credential.state == State::Active
        });
        let credentials = credentials.map(|credential| credential.der().to_vec());
        account
            .unwrap_or_default()
            .into_iter()
            .chain(credentials)
            .collect()
    }

    fn account(&self) -> Option<&'a (Account, Vec<String>)> {
        let mut accounts = self.there.accounts.iter();
        accounts.find(|(account, _)| account.authority == self.line.authority)
    }

    fn intermediates(&mut self, anchors: &[Vec<u8>]) {
        let anchors: Vec<&[u8]> = anchors.iter().map(Vec::as_slice).collect();
        let below = issued_below(&of_shelf(self.contents, Shelf::Useful), &anchors);
        for found in &self.contents.certificates {
            if found.shelf != Shelf::Useful || self.is_identity(found) {
                continue;
            }
            match lint(&found.der, Part::Intermediate, self.now) {
                Err(unfit) => self.refuse(&what(found), unfit),
                Ok(_) if !below.contains(&found.der.as_slice()) => {
                    self.refuse(&what(found), "no anchor of the authority has issued it");
                }
                Ok(_) => self.offer(found, Role::Intermediate, vec![found.der.clone()]),
            }
        }
    }

    /// Whether a key on the card goes with it.
    fn is_identity(&self, found: &FoundCertificate) -> bool {
        self.contents.keys.iter().any(|key| key.id == found.id)
    }

    /// What the device can show: end entities of which the card has proved the key, below an anchor of the authority.
    fn identities(&mut self, anchors: &[Vec<u8>]) {
        let anchors: Vec<&[u8]> = anchors.iter().map(Vec::as_slice).collect();
        let useful = of_shelf(self.contents, Shelf::Useful);
        for found in &self.contents.certificates {
            if found.shelf == Shelf::Trusted
                || found.shelf == Shelf::Useful && !self.is_identity(found)
            {
                continue;
            }
            match self.identity(found, &useful, &anchors) {
                Ok((key, chain_der)) => self.offer(found, Role::Identity { key }, chain_der),
                Err(reason) => self.refuse(&what(found), reason),
            }
        }
    }

    fn identity(
        &self,
        found: &FoundCertificate,
        useful: &[&[u8]],
        anchors: &[&[u8]],
    ) -> Result<(KeyRef, Vec<Vec<u8>>), String> {
        if lint(&found.der, Part::Anchor, self.now).is_ok() && !self.is_identity(found) {
            return Err(
                "a CA among ordinary certificates is no anchor; only trustedCertificates are"
                    .to_owned(),
            );
        }
        lint(&found.der, Part::Identity, self.now).map_err(|unfit| unfit.to_string())?;
        let key = self.proofs.of(&found.der)?;
        let chain =
            chain(&found.der, useful, anchors, self.now).map_err(|error| error.to_string())?;
        Ok((key.clone(), chain))
    }

    /// The account of the authority, if a document brings it. Returns the anchors that it brings itself.
    fn documents(
        &mut self,
        documents: &[(&'a FoundObject, Result<BootstrapDocument, String>)],
        anchors: &[Vec<u8>],
    ) -> Option<Vec<Vec<u8>>> {
        let mut taken = None;
        let mut tried = false;
        for (object, document) in documents {
            let what = format!(
                "object {} at {}",
                printable(&object.oid),
                printable(&object.path)
            );
            let document = match document {
                Ok(document) => document,
                Err(reason) => {
                    // Whatever it should have been: an account that came from here stays.
                    tried = true;
                    self.refuse(&what, reason);
                    continue;
                }
            };
            match self.whose(document) {
                Whose::Ours if taken.is_some() => {
                    self.refuse(&what, "another object has given this account already");
                }
                Whose::Ours => {
                    tried = true;
                    match self.take(object, document, anchors) {
                        Ok(brought) => taken = Some(brought),
                        Err(reason) => self.refuse(&what, reason),
                    }
                }
                Whose::AnotherLines => {}
                Whose::Nobodys(reason) => self.refuse(&what, reason),
            }
        }
        if !tried {
            self.account_is_not_on_the_card();
        }
        taken
    }

    /// An account comes only with a document that is its authority's alone.
    fn whose(&self, document: &BootstrapDocument) -> Whose {
        let names: Vec<&str> = document
            .accounts
            .iter()
            .map(|account| account.srv_id.as_str())
            .collect();
        let ours = self.line.authority.as_str();
        if names == [ours] {
            return Whose::Ours;
        }
        if names.len() == 1 && self.others.iter().any(|other| names == [other.as_str()]) {
            return Whose::AnotherLines;
        }
        let names: Vec<_> = names.into_iter().map(printable).collect();
        Whose::Nobodys(format!(
            "it has accounts for {}; by this line the card speaks for {ours} alone",
            names.join(", ")
        ))
    }

    fn take(
        &mut self,
        object: &FoundObject,
        document: &BootstrapDocument,
        anchors: &[Vec<u8>],
    ) -> Result<Vec<Vec<u8>>, String> {
        let [account] = document.accounts.as_slice() else {
            return Err("it must have one account".to_owned());
        };
        if !self.line.purposes.contains(&Purpose::Sessions) {
            return Err("by this line the card is not for sessions".to_owned());
        }
        let anchors: Vec<&[u8]> = anchors.iter().map(Vec::as_slice).collect();
        let source = Source {
            origin: self.origin(&object.path),
            anchors_der: &anchors,
        };
        let prepared = prepare(account, &source).map_err(|error| error.to_string())?;
        let brought = prepared.account().anchors_der.clone();
        let step = |replaces| Step::Account {
            prepared: Box::new(prepared.clone()),
            objects: document.objects.clone(),
            replaces,
        };
        match self.account() {
            None => self.steps.push(step(false)),
            Some((there, _)) if there.origin.card() != Some(&self.contents.card) => {
                return Err(format!(
                    "the authority has an account from {} already, which a card does not change",
                    there.origin
                ));
            }
            Some((there, permitted)) => {
                let mut as_planned = there.clone();
                let planned = prepared.account();
                as_planned.miid.clone_from(&planned.miid);
                as_planned.origin.clone_from(&planned.origin);
                as_planned.suspended = None;
                if as_planned != *planned || permitted != prepared.permitted() {
                    self.steps.push(step(true));
                } else if there.suspended.is_some() {
                    self.steps.push(Step::Rest {
                        account: Box::new(there.clone()),
                        suspended: None,
                    });
                }
            }
        }
        Ok(brought)
    }

    /// What the card gave earlier and does not have any more goes; if it was not read whole, it rests.
    fn account_is_not_on_the_card(&mut self) {
        let Some((account, _)) = self.account() else {
            return;
        };
        if account.origin.card() != Some(&self.contents.card) {
            return;
        }
        let account = Box::new(account.clone());
        let suspended = Some(Suspended::NotOnCard);
        if self.line.on_removal == OnRemoval::Remove && self.is_whole() {
            self.steps.push(Step::Remove { account });
        } else if account.suspended != suspended {
            self.steps.push(Step::Rest { account, suspended });
        }
    }

    fn is_whole(&self) -> bool {
        self.contents.skipped.is_empty()
    }

    /// From what is offered and what is there to steps.
    fn credentials(&mut self) {
        let card = &self.contents.card;
        let mut kept = BTreeSet::new();
        for offer in std::mem::take(&mut self.offers) {
            let role = offer.role.name();
            let Some(der) = offer.chain_der.first() else {
                continue;
            };
            let id = Credential::id_of(der);
            let before = self
                .of_authority()
                .find(|there| there.id == id && there.role.name() == role);
            kept.insert((id, role));
            let after = match before {
                // A record that was this card's alone is made anew.
                Some(before) if only_from(before, card) => {
                    with(None, offer, self.now).map(|after| made_anew(before, after))
                }
                before => with(
                    before.map(|there| without(there, card)).as_ref(),
                    offer,
                    self.now,
                ),
            };
            self.step(before, after);
        }
        for before in self.of_authority() {
            let gave = before
                .origins
                .iter()
                .any(|origin| origin.card() == Some(card));
            if !gave || kept.contains(&(before.id.clone(), before.role.name())) {
                continue;
            }
            let certificates = &self.contents.certificates;
            let still_there = certificates.iter().any(|found| found.der == before.der());
            let after = match only_from(before, card) {
                true if still_there || !self.is_whole() => Some(suspended(before)),
                true => None,
                false if still_there || !self.is_whole() => Some(before.clone()),
                false => Some(at_rest_if_away(without(before, card), &self.there.present)),
            };
            self.step(Some(before), after);
        }
    }

    fn step(&mut self, before: Option<&Credential>, after: Option<Credential>) {
        if before != after.as_ref() {
            self.steps.push(Step::Credential {
                before: before.cloned(),
                after,
            });
        }
    }
}

/// For whom a document is.
enum Whose {
    Ours,
    AnotherLines,
    Nobodys(String),
}

/// Whether nobody but this card gave it.
pub(super) fn only_from(credential: &Credential, card: &CardId) -> bool {
    let mut origins = credential.origins.iter();
    origins.all(|origin| origin.card() == Some(card))
}

/// A record in the place of an older one of the same source.
fn made_anew(before: &Credential, after: Credential) -> Credential {
    let state = match &before.state {
        trial @ State::Trial { .. } => trial.clone(),
        State::Active | State::Suspended => State::Active,
    };
    Credential {
        added: before.added,
        state,
        ..after
    }
}

/// The credential without what this card has to do with it; as it is, if it was this card's alone.
fn without(credential: &Credential, card: &CardId) -> Credential {
    let mut left = credential.clone();
    left.origins.retain(|origin| origin.card() != Some(card));
    left
}

fn suspended(credential: &Credential) -> Credential {
    Credential {
        state: State::Suspended,
        ..credential.clone()
    }
}

/// A credential rests where every source of it is a card that is away.
pub(super) fn at_rest_if_away(credential: Credential, present: &BTreeSet<CardId>) -> Credential {
    let is_away = |origin: &Origin| origin.card().is_some_and(|card| !present.contains(card));
    match credential.origins.iter().all(is_away) {
        true => suspended(&credential),
        false => credential,
    }
}

/// A certificate of a card for people.
fn what(found: &FoundCertificate) -> String {
    let name = match Description::of(&found.der) {
        Ok(described) => described.subject,
        Err(_) => printable(&found.label),
    };
    let shelf = match found.shelf {
        Shelf::Trusted => "trusted certificate",
        Shelf::Own => "certificate",
        Shelf::Useful => "useful certificate",
    };
    format!("{shelf} {name} at {}", printable(&found.path))
}

#[cfg(test)]
mod tests;
