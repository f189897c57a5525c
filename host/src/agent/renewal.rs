//! Renewal: an identity is replaced before it ends, by enrolment with the authority (EST, RFC 7030).
//!
//! ```text
//!  two thirds of its life ─▶ key, request (kept) ─▶ service ─▶ checked, kept on trial ─▶ a session shows it
//!                                  ▲                  │ later, or refused: with waits        │ worked: the old one goes
//!                                  └──────────────────┘                                      │ failed: one with the old one
//!                                                                                            └─ worked: the new one goes
//! ```
//!
//! When is computed from the certificate, and the request is kept with its key: a restart goes on where it was.

mod request;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::{Notify, mpsc};
use tokio::task::spawn_local;

use super::Event;
use super::rooms::Rooms;
use crate::accounts::{Account, AccountError, Shown, queue_alert};
use crate::authority::Authority;
use crate::certificates::{
    Credential, Description, NoChain, Origin, Pending, RequestError, Role, State, Unfit,
};
use crate::keys::{KeyError, KeyRef};
use crate::plugins::AlertRequest;
use crate::provisioning::Refused;
use crate::session::EnrolError;
use crate::store::{StoreError, Transaction};

/// An identity was renewed, and a session with the new one has worked.
const RENEWED: &str = "urn:x-bailiwick:at:certificate-renewed";
/// Renewal does not succeed; somebody has to look.
const NOT_RENEWED: &str = "urn:x-bailiwick:at:certificate-not-renewed";
/// An identity ends soon.
const EXPIRES: &str = "urn:x-bailiwick:at:certificate-expires";

/// Days before the end at which the authority is told. choice.
const TOLD: [u64; 3] = [30, 7, 1];
const DAY: u64 = 86_400;
/// Nothing is looked at less often, seconds: the clock may have been set.
const LOOK: u64 = 6 * 3_600;
/// After a failure that is no refusal, seconds.
const AGAIN: u64 = 600;
/// After a failure, doubled with each further one, seconds.
const RETRY: u64 = 60;
/// The longest wait after failures, seconds.
const RETRY_MAX: u64 = 6 * 3_600;

/// Why there is no new certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum RenewalError {
    /// The account does not say where.
    #[error(
        "the account of {authority} names no EST service (Ext/EST); its authority renews by a bootstrap document or a card"
    )]
    NoService {
        /// Whose.
        authority: Authority,
    },
    /// There is nothing to renew.
    #[error("{authority} has no such identity; `bailiwick certs` lists what there is")]
    NoIdentity {
        /// Whose.
        authority: Authority,
    },
    /// One is under way.
    #[error("an identity of {authority} is being renewed already; a session decides about it")]
    UnderWay {
        /// Whose.
        authority: Authority,
    },
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error(transparent)]
    Enrol(#[from] EnrolError),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("the new certificate: {0}")]
    Chain(#[from] NoChain),
    #[error("the new certificate: {0}")]
    Unfit(#[from] Unfit),
    #[error("the new certificate: {0}")]
    Refused(#[from] Refused),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The renewals of the device; shared by the task that watches and by who asks.
pub(super) struct Renewals {
    rooms: Rooms,
    tell: mpsc::Sender<Event>,
    wake: Notify,
    busy: RefCell<BTreeSet<Authority>>,
}

impl Renewals {
    /// Watches from now on. Needs a `LocalSet`.
    pub(super) fn start(rooms: Rooms, tell: mpsc::Sender<Event>) -> Rc<Self> {
        let renewals = Rc::new(Self {
            rooms,
            tell,
            wake: Notify::new(),
            busy: RefCell::default(),
        });
        let watching = Rc::downgrade(&renewals);
        spawn_local(async move {
            while let Some(renewals) = watching.upgrade() {
                let wait = renewals.look().await;
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = renewals.wake.notified() => {}
                }
            }
        });
        renewals
    }

    /// Something has changed that may have to be renewed.
    pub(super) fn look_again(&self) {
        self.wake.notify_one();
    }

    /// Does what is due, and says when to look again.
    async fn look(&self) -> Duration {
        let mut next = LOOK;
        let accounts = match self.rooms.accounts.list() {
            Ok(accounts) => accounts,
            Err(error) => {
                tracing::warn!(%error, "renewals cannot be planned");
                return Duration::from_secs(RETRY);
            }
        };
        for account in accounts
            .iter()
            .filter(|account| account.suspended.is_none())
        {
            let authority = &account.authority;
            match self.attend(account).await {
                Ok(wait) => next = next.min(wait),
                Err(error) => {
                    tracing::warn!(%authority, %error, "its certificates cannot be looked after");
                    next = next.min(AGAIN);
                }
            }
        }
        if let Err(error) = self.rooms.accounts.keep_clock().await {
            tracing::warn!(%error, "the floor of the clock was not kept");
        }
        Duration::from_secs(next.max(1))
    }

    /// What one account needs; seconds until it needs something again.
    async fn attend(&self, account: &Account) -> Result<u64, RenewalError> {
        let authority = &account.authority;
        self.refresh_list(account).await;
        let Some(shown) = self.rooms.accounts.shown(authority)? else {
            return Ok(LOOK);
        };
        self.tell_of_expiry(authority, &shown).await?;
        if account.services.est_uri.is_none() || self.on_trial(authority)?.is_some() {
            return Ok(LOOK);
        }
        let now = self.rooms.accounts.clock().now();
        let pending = Pending::of(&self.rooms.store, authority)?;
        let due = due(&shown)?.max(pending.map_or(0, |pending| pending.not_before));
        if due > now {
            return Ok(due - now);
        }
        match self.renew(authority, None).await {
            Ok(_) => Ok(LOOK),
            Err(error) => {
                let wait = self.failed(authority, &shown, &error).await?;
                tracing::warn!(%authority, %error, seconds = wait, "an identity was not renewed; it is tried again");
                Ok(wait)
            }
        }
    }

    /// Renews what the device shows to the servers of an authority, now. With an id: that one, or nothing. Returns the id of the
    /// new certificate, which is on trial until a session with it has worked.
    pub(super) async fn renew(
        &self,
        authority: &Authority,
        id: Option<&str>,
    ) -> Result<String, RenewalError> {
        let _one_at_a_time = Busy::begin(&self.busy, authority)?;
        let account = self.rooms.accounts.get(authority)?;
        let account = account.ok_or_else(|| AccountError::Unknown {
            authority: authority.clone(),
        })?;
        let service = account.services.est_uri.as_deref();
        let service = service.ok_or_else(|| RenewalError::NoService {
            authority: authority.clone(),
        })?;
        let shown = self.rooms.accounts.shown(authority)?;
        let shown = shown.filter(|shown| id.is_none_or(|id| shown.id().starts_with(id)));
        let shown = shown.ok_or_else(|| RenewalError::NoIdentity {
            authority: authority.clone(),
        })?;
        if self.on_trial(authority)?.is_some() {
            return Err(RenewalError::UnderWay {
                authority: authority.clone(),
            });
        }
        let renewed = request::renew(&self.rooms, &account, service, &shown).await?;
        self.rooms.accounts.forget_trust(authority);
        tracing::info!(%authority, certificate = renewed, "renewed; a session decides about it");
        // A daemon that stops tries it in the first session after its next start.
        let _stopped = self.tell.send(Event::Renewed(authority.clone())).await;
        Ok(renewed)
    }

    /// A try has failed: when the next one is. The authority is told of the first.
    async fn failed(
        &self,
        authority: &Authority,
        shown: &Shown,
        error: &RenewalError,
    ) -> Result<u64, RenewalError> {
        let tx = self.rooms.store.begin();
        let mut pending =
            Pending::of(&self.rooms.store, authority)?.unwrap_or_else(|| Pending::new(&shown.id()));
        let wait = match error {
            RenewalError::Enrol(EnrolError::Later { seconds }) => *seconds,
            _ => {
                pending.failures = pending.failures.saturating_add(1);
                if pending.failures == 1 {
                    let told = json!({ "certificate": shown.id(), "reason": error.to_string() });
                    alert(&tx, authority, NOT_RENEWED, &told)?;
                }
                (RETRY << pending.failures.min(10)).min(RETRY_MAX)
            }
        };
        pending.not_before = self.rooms.accounts.clock().now() + wait;
        pending.put(&tx, authority)?;
        tx.commit().await?;
        Ok(wait)
    }

    /// The identity that is on trial.
    fn on_trial(&self, authority: &Authority) -> Result<Option<Credential>, StoreError> {
        let all = Credential::of(&self.rooms.store.begin(), authority)?;
        let is_on_trial = |credential: &Credential| matches!(credential.state, State::Trial { .. });
        Ok(all.into_iter().find(is_on_trial))
    }

    /// A session has ended: it may have shown an identity on trial, or the old one in its place.
    pub(super) async fn session_ended(&self, authority: &Authority, outcome: Outcome) {
        if let Err(error) = self.decide(authority, outcome).await {
            tracing::warn!(%authority, %error, "an identity stays on trial");
        }
    }

    async fn decide(&self, authority: &Authority, outcome: Outcome) -> Result<(), RenewalError> {
        let accounts = &self.rooms.accounts;
        let (Some(trial), Some(showed)) =
            (self.on_trial(authority)?, accounts.last_shown(authority))
        else {
            return Ok(());
        };
        match (showed == trial.id, outcome) {
            (_, Outcome::NotReached) => {}
            (true, Outcome::Worked) => self.promote(&trial).await?,
            (true, Outcome::Failed) => {
                tracing::warn!(%authority, certificate = trial.id, "a session with the new identity failed; the old one is used");
                accounts.set_aside(authority, &trial.id);
                let _stopped = self.tell.send(Event::Renewed(authority.clone())).await;
            }
            (false, Outcome::Worked) => self.reject(&trial).await?,
            // It is not about the identity.
            (false, Outcome::Failed) => accounts.try_again(authority, &trial.id),
        }
        Ok(())
    }

    /// The new identity counts, and what it replaces goes if it came by enrolment too: cards and documents keep what is theirs.
    async fn promote(&self, trial: &Credential) -> Result<(), RenewalError> {
        let authority = &trial.authority;
        let tx = self.rooms.store.begin();
        let all = Credential::of(&tx, authority)?;
        let State::Trial { replaces } = &trial.state else {
            return Ok(());
        };
        let mut counts = trial.clone();
        counts.state = State::Active;
        counts.put(&tx)?;
        let old = all.iter().find(|credential| {
            let is_identity = matches!(credential.role, Role::Identity { .. });
            is_identity && credential.id == *replaces
        });
        let enrolled = |origin: &Origin| matches!(origin, Origin::Enrolment(_));
        let gone = old.filter(|old| old.origins.iter().all(enrolled));
        if let Some(old) = gone {
            old.remove(&tx);
        }
        let until = Description::of(trial.der())?.not_after;
        let told = json!({ "certificate": trial.id, "replaces": replaces, "notAfter": until });
        alert(&tx, authority, RENEWED, &told)?;
        Pending::forget(&tx, authority);
        tx.commit().await?;
        self.rooms.accounts.forget_trust(authority);
        tracing::info!(%authority, certificate = trial.id, "the new identity has worked");
        if let Some(old) = gone {
            self.forget_key(old).await;
        }
        self.look_again();
        Ok(())
    }

    /// The new identity goes: the old one works where it did not.
    async fn reject(&self, trial: &Credential) -> Result<(), RenewalError> {
        let authority = &trial.authority;
        let tx = self.rooms.store.begin();
        trial.remove(&tx);
        let told = json!({
            "certificate": trial.id,
            "reason": "sessions work with the old certificate and not with this one",
        });
        alert(&tx, authority, NOT_RENEWED, &told)?;
        let mut pending = Pending::new(match &trial.state {
            State::Trial { replaces } => replaces,
            _ => "",
        });
        pending.failures = 1;
        pending.not_before = self.rooms.accounts.clock().now() + RETRY_MAX;
        pending.put(&tx, authority)?;
        tx.commit().await?;
        self.rooms.accounts.forget_trust(authority);
        tracing::error!(%authority, certificate = trial.id, "the new identity does not work; it was removed");
        self.forget_key(trial).await;
        self.look_again();
        Ok(())
    }

    /// The key of a credential that has gone, unless it is on a card.
    async fn forget_key(&self, credential: &Credential) {
        if let Role::Identity {
            key: key @ KeyRef::File(_),
        } = &credential.role
            && let Err(error) = self.rooms.keys.forget(key).await
        {
            tracing::warn!(%error, "a key that is not needed stays");
        }
    }

    /// Tells an authority once at each of 30, 7 and 1 days before the end.
    async fn tell_of_expiry(
        &self,
        authority: &Authority,
        shown: &Shown,
    ) -> Result<(), RenewalError> {
        let until = u64::try_from(Description::of(shown.der())?.not_after).unwrap_or(0);
        let now = self.rooms.accounts.clock().now();
        let left = until.saturating_sub(now).div_ceil(DAY);
        let Some(step) = TOLD.into_iter().filter(|days| left <= *days).min() else {
            return Ok(());
        };
        let tx = self.rooms.store.begin();
        if !Pending::tell_once(&tx, authority, &shown.id(), step)? {
            return Ok(());
        }
        let told = json!({ "certificate": shown.id(), "notAfter": until, "daysLeft": left });
        alert(&tx, authority, EXPIRES, &told)?;
        tx.commit().await?;
        tracing::warn!(%authority, days = left, "the device's certificate ends soon");
        Ok(())
    }

    /// Fetches a newer revocation list when the one that is there has ended or will within a day.
    async fn refresh_list(&self, account: &Account) {
        let authority = &account.authority;
        let Some(uri) = account.services.crl_uri.as_deref() else {
            return;
        };
        let accounts = &self.rooms.accounts;
        let now = i64::try_from(accounts.clock().now()).unwrap_or(i64::MAX);
        match accounts.crl_until(authority) {
            Ok(Some(until)) if until.saturating_sub(now) > 86_400 => return,
            Ok(_) => {}
            Err(error) => return tracing::warn!(%authority, %error, "no revocation list"),
        }
        let fetched = self.rooms.sessions.revocation_list(authority, uri).await;
        let outcome = match fetched {
            Ok(der) => accounts
                .keep_crl(authority, &der)
                .await
                .map_err(|e| e.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match outcome {
            Ok(true) => tracing::info!(%authority, "a newer revocation list"),
            Ok(false) => {}
            Err(error) => tracing::warn!(%authority, error, "no newer revocation list"),
        }
    }
}

/// How a session ended, as far as it tells of identities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// To its end.
    Worked,
    /// Otherwise, with a server that was reached.
    Failed,
    /// There was no server.
    NotReached,
}

/// When an identity is renewed, Unix time in seconds: at two thirds of the time that it has from the moment that the device has it,
/// and up to a twelfth of it later, always the same for one certificate, so that devices of one day do not come together.
fn due(shown: &Shown) -> Result<u64, Unfit> {
    let described = Description::of(shown.der())?;
    let seconds = |moment: i64| u64::try_from(moment).unwrap_or(0);
    let added = shown.credential.as_ref().map_or(0, |it| it.added);
    let from = seconds(described.not_before).max(added);
    let life = seconds(described.not_after).saturating_sub(from);
    let digits = described.fingerprint.get(..4).unwrap_or_default();
    let jitter = u64::from_str_radix(digits, 16).unwrap_or_default();
    Ok(from + life / 3 * 2 + life / 12 * jitter / 0x1_0000)
}

fn alert(
    tx: &Transaction,
    to: &Authority,
    alert_type: &str,
    data: &serde_json::Value,
) -> Result<(), StoreError> {
    let alert = AlertRequest {
        alert_type: alert_type.to_owned(),
        source: None,
        mark: None,
        data: Some(data.to_string()),
    };
    queue_alert(tx, to, &alert)
}

/// Marks an authority's renewal as running until it is dropped.
struct Busy<'a> {
    all: &'a RefCell<BTreeSet<Authority>>,
    authority: Authority,
}

impl<'a> Busy<'a> {
    fn begin(
        all: &'a RefCell<BTreeSet<Authority>>,
        authority: &Authority,
    ) -> Result<Self, RenewalError> {
        match all.borrow_mut().insert(authority.clone()) {
            true => Ok(Self {
                all,
                authority: authority.clone(),
            }),
            false => Err(RenewalError::UnderWay {
                authority: authority.clone(),
            }),
        }
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.all.borrow_mut().remove(&self.authority);
    }
}

#[cfg(test)]
mod tests;
