//! Changes of accounts: one at a time, and each durable as a whole.

use std::collections::BTreeSet;
use std::rc::Rc;

use tokio::sync::MutexGuard;

use bailiwick_protocol::alert::BOOTSTRAP_COMPLETE;
use bailiwick_protocol::bootstrap::DMACC_MOID;

use super::bootstrap::Prepared;
use super::secrets::Unwritten;
use super::{
    Account, AccountError, Accounts, BootstrapError, Bootstrapped, Change, Overwrite, PLUGIN,
    Suspended, queue_alert, services,
};
use crate::authority::{Authority, Instance};
use crate::keys::KeyRef;
use crate::permissions::Access;
use crate::plugins::AlertRequest;
use crate::store::{StoreError, Table, Transaction, tables};

/// Accounts of one device. Stops documents that make a device wait for thousands of servers.
const MAX_ACCOUNTS: usize = 64;

/// A change of accounts, and of what hangs on them, that is not durable yet. Dropped, it leaves no trace.
pub struct Changing<'a> {
    accounts: &'a Accounts,
    tx: Rc<Transaction>,
    secrets: Vec<Unwritten>,
    /// Whose trust has to be made again.
    touched: BTreeSet<Authority>,
    _one_at_a_time: MutexGuard<'a, ()>,
}

impl Accounts {
    /// Begins a change within a transaction, when those before it have ended. Whoever changes credentials by looking at
    /// what is there does it within one too.
    pub async fn change(&self, tx: Rc<Transaction>) -> Changing<'_> {
        let _one_at_a_time = self.inner.changing.lock().await;
        Changing {
            accounts: self,
            tx,
            secrets: Vec::new(),
            touched: BTreeSet::new(),
            _one_at_a_time,
        }
    }
}

impl Changing<'_> {
    /// What is written into.
    pub fn transaction(&self) -> &Rc<Transaction> {
        &self.tx
    }

    /// Puts one account into the transaction, with its rights, its instance and its alert.
    pub fn put(
        &mut self,
        prepared: Prepared,
        overwrite: Overwrite,
    ) -> Result<Bootstrapped, BootstrapError> {
        let Prepared {
            mut account,
            permitted,
            secrets,
        } = prepared;
        let (tx, permissions) = (&*self.tx, &self.accounts.inner.permissions);
        let key = tables::key(&[account.authority.as_str()]);
        let there: Option<Account> = tx.get_json(Table::Accounts, &key)?;
        let change = match there {
            Some(there) => {
                account.miid = there.miid.clone();
                let rights = permissions.permitted_moids(tx, &account.authority)?;
                if there == account && rights == permitted {
                    return Ok(Bootstrapped {
                        account,
                        change: Change::Unchanged,
                    });
                }
                if overwrite == Overwrite::Refuse {
                    let srv_id = account.authority.as_str().to_owned();
                    return Err(BootstrapError::Exists { srv_id });
                }
                Change::Replaced
            }
            None => {
                self.check_room()?;
                account.miid = self.free_miid()?;
                let owner = &account.authority;
                let device = Authority::device();
                let permit = permissions.may_create_for(tx, &device, owner, DMACC_MOID)?;
                permissions.record_instance(tx, &permit, &account.instance(), PLUGIN)?;
                Change::Added
            }
        };
        permissions.set_permitted(tx, &account.authority, &permitted)?;
        tx.put_json(Table::Accounts, &key, &account)?;
        queue_bootstrap_complete(tx, &account.authority)?;
        self.secrets.extend(secrets);
        self.touched.insert(account.authority.clone());
        Ok(Bootstrapped { account, change })
    }

    /// Keeps a private key (PEM) in a file of the directory of keys, for a credential of `owner` within the same change.
    pub fn keep_key(&mut self, owner: &Authority, pem: Vec<u8>) -> KeyRef {
        let secret = Unwritten::new(owner.as_str(), pem);
        let key = KeyRef::File(secret.name().clone().into());
        self.secrets.push(secret);
        key
    }

    /// Lets an account rest, or counts it again (`None`).
    pub fn suspend(
        &mut self,
        authority: &Authority,
        suspended: Option<Suspended>,
    ) -> Result<(), AccountError> {
        let mut account = self.get(authority)?;
        if account.suspended != suspended {
            account.suspended = suspended;
            let key = tables::key(&[authority.as_str()]);
            self.tx.put_json(Table::Accounts, &key, &account)?;
            self.touched.insert(authority.clone());
        }
        Ok(())
    }

    /// Removes an account: its authority, its rights, its secrets, and what waits to be sent to it.
    pub fn remove(&mut self, authority: &Authority) -> Result<(), AccountError> {
        let account = self.get(authority)?;
        let (tx, permissions) = (&*self.tx, &self.accounts.inner.permissions);
        let operator = Authority::operator();
        let permit = permissions.permit(tx, &operator, Access::Write, &account.instance(), 0)?;
        permissions.forget_instance(tx, &permit)?;
        permissions.remove_authority(tx, authority)?;
        tx.delete(Table::Accounts, &tables::key(&[authority.as_str()]));
        services::forget(tx, authority);
        for table in [Table::Alerts, Table::Results, Table::Sessions] {
            tx.delete(table, &tables::key(&[authority.as_str()]));
            tx.delete_prefix(table, &tables::prefix(&[authority.as_str()]))?;
        }
        self.touched.insert(authority.clone());
        Ok(())
    }

    /// Something that the trust of an authority is made of has changed.
    pub fn touch(&mut self, authority: &Authority) {
        self.touched.insert(authority.clone());
    }

    /// Makes it all durable, or none of it; `commit` writes the transaction.
    pub async fn commit(
        self,
        commit: impl Future<Output = Result<(), StoreError>>,
    ) -> Result<(), AccountError> {
        let inner = &self.accounts.inner;
        let fresh = inner.secrets.write(self.secrets).await?;
        if let Err(error) = commit.await {
            // Where only the answer was lost, accounts refer to them.
            if let Ok(keep) = self.accounts.referenced() {
                let vain: Vec<_> = fresh
                    .into_iter()
                    .filter(|name| !keep.contains(name))
                    .collect();
                inner.secrets.remove(&vain);
            }
            return Err(error.into());
        }
        for authority in &self.touched {
            self.accounts.forget_trust(authority);
        }
        let kept = self.accounts.referenced();
        let removed = kept.and_then(|keep| Ok(inner.secrets.remove_all_but(&keep)?));
        if let Err(error) = removed {
            tracing::warn!(%error, "secrets of replaced accounts stay until the next start");
        }
        Ok(())
    }

    fn get(&self, authority: &Authority) -> Result<Account, AccountError> {
        let account = self
            .tx
            .get_json(Table::Accounts, &tables::key(&[authority.as_str()]))?;
        account.ok_or_else(|| AccountError::Unknown {
            authority: authority.clone(),
        })
    }

    fn check_room(&self) -> Result<(), BootstrapError> {
        match self.tx.scan(Table::Accounts, "")?.len() + 1 {
            found if found > MAX_ACCOUNTS => Err(BootstrapError::TooMany {
                found,
                limit: MAX_ACCOUNTS,
            }),
            _ => Ok(()),
        }
    }

    /// A free name for a DM Account instance.
    fn free_miid(&self) -> Result<String, BootstrapError> {
        let permissions = &self.accounts.inner.permissions;
        let there = permissions.instances_of(&self.tx, DMACC_MOID)?;
        let is_free = |name: &Instance| there.iter().all(|(instance, _)| instance != name);
        let mut names = std::iter::from_fn(|| Instance::at_random(DMACC_MOID));
        let free = names.find(is_free).ok_or(BootstrapError::NoRandomness)?;
        Ok(free.miid)
    }
}

/// The device says so itself, in its first session (OMA DM 2.0, Bootstrap).
fn queue_bootstrap_complete(tx: &Transaction, to: &Authority) -> Result<(), BootstrapError> {
    let alert = AlertRequest {
        alert_type: BOOTSTRAP_COMPLETE.to_owned(),
        source: None,
        mark: None,
        data: None,
    };
    Ok(queue_alert(tx, to, &alert)?)
}
