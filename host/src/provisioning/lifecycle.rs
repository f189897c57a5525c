//! What becomes of what cards gave when they go: pure. What is stored is made to agree with the cards that are there; a
//! card that is pulled, one that was swapped while the daemon did not run, and a crash in the middle of either end the
//! same way.
//!
//! Nothing begins to count here: for that a card has to be read, and to prove its keys.

use super::plan::{There, at_rest_if_away, only_from};
use super::policy::Policy;
use super::step::Step;
use crate::accounts::{Account, Suspended};
use crate::authority::Authority;
use crate::certificates::{Credential, Origin, State};
use crate::config::OnRemoval;
use crate::keys::CardId;

/// What has to rest or go because no source of it is there any more (OMA DM 1.2, Bootstrap: accounts from a card are
/// looked at when the device is switched on).
pub(super) fn settle(there: &There, policy: &Policy) -> Vec<Step> {
    let accounts = there.accounts.iter();
    let accounts = accounts.filter_map(|(account, _)| of_account(account, there, policy));
    let credentials = there.credentials.iter();
    let credentials = credentials.filter_map(|credential| of_credential(credential, there, policy));
    accounts.chain(credentials).collect()
}

/// All that a card gave, as if it had never been there: the operator's word, not the card's.
pub(super) fn forget(there: &There, card: &CardId) -> Vec<Step> {
    let from_card = |origin: &Origin| origin.card() == Some(card);
    let accounts = there.accounts.iter().map(|(account, _)| account);
    let accounts = accounts.filter(|account| from_card(&account.origin));
    let accounts = accounts.map(|account| Step::Remove {
        account: Box::new(account.clone()),
    });
    let credentials = there.credentials.iter();
    let credentials = credentials.filter(|credential| credential.origins.iter().any(from_card));
    let credentials = credentials.map(|credential| {
        let mut left = credential.clone();
        left.origins.retain(|origin| !from_card(origin));
        Step::Credential {
            before: Some(credential.clone()),
            after: (!only_from(credential, card)).then(|| at_rest_if_away(left, &there.present)),
        }
    });
    accounts.chain(credentials).collect()
}

fn of_account(account: &Account, there: &There, policy: &Policy) -> Option<Step> {
    let card = account.origin.card()?;
    let why = match there.present.contains(card) {
        _ if !policy.binds(&account.authority) => Suspended::NotBound,
        true => return None,
        false => Suspended::CardAway,
    };
    let account = Box::new(account.clone());
    if why == Suspended::CardAway
        && on_removal(&account.authority, card, policy) == OnRemoval::Remove
    {
        return Some(Step::Remove { account });
    }
    // Any reason will do; the first one stays.
    account.suspended.is_none().then_some(Step::Rest {
        account,
        suspended: Some(why),
    })
}

fn of_credential(credential: &Credential, there: &There, policy: &Policy) -> Option<Step> {
    let is_bound = policy.binds(&credential.authority);
    let counts = |origin: &Origin| {
        let card = origin.card();
        card.is_none_or(|card| is_bound && there.present.contains(card))
    };
    if credential.origins.iter().any(counts) {
        return None;
    }
    let mut cards = credential.origins.iter().filter_map(Origin::card);
    let removed = is_bound
        && cards.all(|card| on_removal(&credential.authority, card, policy) == OnRemoval::Remove);
    if credential.state == State::Suspended && !removed {
        return None;
    }
    let rests = Credential {
        state: State::Suspended,
        ..credential.clone()
    };
    Some(Step::Credential {
        before: Some(credential.clone()),
        after: (!removed).then_some(rests),
    })
}

/// What the line says that can have bound the card; no such line: what can be undone.
fn on_removal(authority: &Authority, card: &CardId, policy: &Policy) -> OnRemoval {
    let mut lines = policy.lines().iter();
    let line = lines.find(|line| {
        line.authority == *authority
            && line
                .serial
                .as_ref()
                .is_none_or(|serial| *serial == card.serial)
    });
    line.map_or(OnRemoval::Suspend, |line| line.on_removal)
}
