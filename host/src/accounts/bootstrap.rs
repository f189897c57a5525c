//! Bootstrap (OMA DM 2.0, Bootstrap): a document becomes accounts, all of them or none.
//!
//! ```text
//!  parse ─▶ check every account: names, https, anchors, key belongs to certificate
//!        ─▶ compare with what is there: new, unchanged, or another's
//!        ─▶ write secrets to files   ─▶ one transaction: accounts, rights, instances, alerts
//! ```

use std::rc::Rc;
use std::sync::Arc;

use serde::Serialize;

use bailiwick_protocol as protocol;
use bailiwick_protocol::MoItem;
use bailiwick_protocol::alert::BOOTSTRAP_COMPLETE;
use bailiwick_protocol::bootstrap::{BootstrapDocument, DMACC_MOID, SecMode};

use super::secrets::Unwritten;
use super::{
    Account, Accounts, BootstrapError, BootstrapServer, IdentityRef, NotificationKey, PLUGIN,
    queue_alert,
};
use crate::authority::{Authority, Instance};
use crate::certificates::{self, CertificateError, FileIdentity, IdentitySource, Trust};
use crate::plugins::AlertRequest;
use crate::store::{StoreError, Table, Transaction, tables};

/// Accounts of one device. Stops documents that make a device wait for thousands of servers.
const MAX_ACCOUNTS: usize = 64;

/// What happens to an account that is there already with other contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overwrite {
    /// The document is refused.
    Refuse,
    /// The account gets the contents of the document.
    Replace,
}

/// What became of one account of the document.
#[derive(Clone, Debug)]
pub struct Bootstrapped {
    /// The account as it is now.
    pub account: Account,
    /// What happened to it.
    pub change: Change,
}

/// What a bootstrap did to an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It is new; its server is told with BootstrapComplete.
    Added,
    /// It got other contents; its server is told with BootstrapComplete.
    Replaced,
    /// It was there exactly like this; nothing happens.
    Unchanged,
}

/// An account of the document that has passed every check, and its secrets.
struct Checked {
    account: Account,
    permitted: Vec<String>,
    secrets: Vec<Unwritten>,
}

/// The command that a bootstrap runs as: its transaction, and the way to the objects that come along.
pub trait Command {
    /// What everything is written into.
    fn transaction(&self) -> Rc<Transaction>;
    /// Stores an object of the document; an error in words.
    fn store(&self, item: &MoItem) -> impl Future<Output = Result<Stored, String>>;
    /// Makes everything durable, all or nothing.
    fn commit(self) -> impl Future<Output = Result<(), StoreError>>;
}

/// What became of an object of the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// It is there.
    Done,
    /// Nothing on this device serves its type, so it is left out (as in DM 1.2.1).
    Unknown,
}

impl Accounts {
    /// Takes a bootstrap document: its accounts, and its objects for the first of them. `begin` begins the command
    /// of that authority. After an error, nothing was taken; if nothing is new in the accounts, nothing is either.
    pub async fn bootstrap<C: Command>(
        &self,
        document: &[u8],
        overwrite: Overwrite,
        begin: impl FnOnce(&Authority) -> C,
    ) -> Result<Vec<Bootstrapped>, BootstrapError> {
        let document = BootstrapDocument::parse(document, &protocol::Limits::DEFAULT)?;
        let checked = document
            .accounts
            .iter()
            .map(check)
            .collect::<Result<Vec<_>, _>>()?;
        let Some(first) = checked
            .first()
            .map(|checked| checked.account.authority.clone())
        else {
            return Ok(Vec::new());
        };

        let _one_at_a_time = self.inner.changing.lock().await;
        let command = begin(&first);
        let tx = command.transaction();
        let mut secrets = Vec::new();
        let mut outcome = Vec::new();
        for Checked {
            account,
            permitted,
            secrets: its,
        } in checked
        {
            let bootstrapped = self.take(&tx, account, &permitted, overwrite)?;
            if bootstrapped.change != Change::Unchanged {
                secrets.extend(its);
            }
            outcome.push(bootstrapped);
        }
        let found = tx.scan(Table::Accounts, "")?.len();
        if found > MAX_ACCOUNTS {
            return Err(BootstrapError::TooMany {
                found,
                limit: MAX_ACCOUNTS,
            });
        }
        if outcome.iter().all(|done| done.change == Change::Unchanged) {
            return Ok(outcome);
        }
        store_objects(&command, &document.objects).await?;

        let fresh = self.inner.secrets.write(secrets).await?;
        if let Err(error) = command.commit().await {
            self.inner.secrets.remove(&fresh);
            return Err(error.into());
        }
        self.after_commit(&outcome);
        Ok(outcome)
    }

    fn after_commit(&self, outcome: &[Bootstrapped]) {
        for Bootstrapped { account, change } in outcome {
            self.inner.trust.borrow_mut().remove(&account.authority);
            tracing::info!(authority = %account.authority, ?change, "account bootstrapped");
        }
        let kept = self.referenced();
        let removed = kept.and_then(|keep| Ok(self.inner.secrets.remove_all_but(&keep)?));
        if let Err(error) = removed {
            tracing::warn!(%error, "secrets of replaced accounts stay until the next start");
        }
    }

    /// Puts one account into the transaction, with its rights, its instance and its alert.
    fn take(
        &self,
        tx: &Transaction,
        mut account: Account,
        permitted: &[String],
        overwrite: Overwrite,
    ) -> Result<Bootstrapped, BootstrapError> {
        let permissions = &self.inner.permissions;
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
                account.miid = self.free_miid(tx)?;
                let owner = &account.authority;
                let device = Authority::device();
                let permit = permissions.may_create_for(tx, &device, owner, DMACC_MOID)?;
                permissions.record_instance(tx, &permit, &account.instance(), PLUGIN)?;
                Change::Added
            }
        };
        permissions.set_permitted(tx, &account.authority, permitted)?;
        tx.put_json(Table::Accounts, &key, &account)?;
        queue_bootstrap_complete(tx, &account.authority)?;
        Ok(Bootstrapped { account, change })
    }

    /// A free name for a DM Account instance.
    fn free_miid(&self, tx: &Transaction) -> Result<String, BootstrapError> {
        let there = self.inner.permissions.instances_of(tx, DMACC_MOID)?;
        let is_free = |name: &Instance| there.iter().all(|(instance, _)| instance != name);
        let mut names = std::iter::from_fn(|| Instance::at_random(DMACC_MOID));
        let free = names.find(is_free).ok_or(BootstrapError::NoRandomness)?;
        Ok(free.miid)
    }
}

async fn store_objects(command: &impl Command, objects: &[MoItem]) -> Result<(), BootstrapError> {
    for item in objects {
        let uri = || item.client_uri.clone().unwrap_or_default();
        match command.store(item).await {
            Ok(Stored::Done) => {}
            Ok(Stored::Unknown) => {
                tracing::warn!(
                    uri = uri(),
                    "an object of the bootstrap document has no plug-in"
                );
            }
            Err(reason) => return Err(BootstrapError::Object { uri: uri(), reason }),
        }
    }
    Ok(())
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

/// Everything that can be said about an account of a document without looking at the device.
fn check(account: &protocol::Account) -> Result<Checked, BootstrapError> {
    let srv_id = account.srv_id.clone();
    let authority = Authority::server(&srv_id);
    if authority.as_str() != srv_id || authority.is_local() || srv_id == "*" {
        return Err(BootstrapError::Reserved { srv_id });
    }
    if !is_https(&account.srv_uri) {
        return Err(BootstrapError::Insecure { srv_id });
    }
    if let Some(moid) = account
        .permitted_moids
        .iter()
        .find(|moid| moid.contains('*'))
    {
        return Err(BootstrapError::Moid {
            srv_id,
            moid: moid.clone(),
        });
    }
    let mut permitted = account.permitted_moids.clone();
    permitted.sort();
    permitted.dedup();

    let mut secrets = Vec::new();
    let identity = check_credentials(account, &authority, &mut secrets).map_err(|source| {
        BootstrapError::Credentials {
            srv_id: srv_id.clone(),
            source,
        }
    })?;
    let mut keep = |bytes: &[u8]| {
        let secret = Unwritten::new(&srv_id, bytes.to_vec());
        let name = secret.name().clone();
        secrets.push(secret);
        name
    };
    let notification = account.auth.noti.as_ref().map(|noti| NotificationKey {
        kind: noti.kind,
        data: noti.data.clone(),
        secret: keep(noti.secret.expose()),
    });
    let bootstrap_server = account
        .auth
        .bootstrap
        .as_ref()
        .map(|server| BootstrapServer {
            server_uri: server.server_uri.clone(),
            certificates: server.sec_mode == SecMode::Certificate,
            client_public: server.client_public.clone(),
            server_public: server.server_public.clone(),
            client_secret: keep(server.client_secret.expose()),
        });
    let account = Account {
        authority,
        srv_uri: account.srv_uri.clone(),
        name: account.name.clone(),
        miid: String::new(),
        identity,
        anchors_der: account.auth.anchors_der.clone(),
        notification,
        bootstrap_server,
    };
    Ok(Checked {
        account,
        permitted,
        secrets,
    })
}

/// Makes the trust that sessions will use, so that what cannot work is refused now.
fn check_credentials(
    account: &protocol::Account,
    authority: &Authority,
    secrets: &mut Vec<Unwritten>,
) -> Result<IdentityRef, CertificateError> {
    let mut identity: Option<Arc<dyn IdentitySource>> = None;
    let mut reference = IdentityRef::None;
    if let Some(trsp) = &account.auth.trsp {
        let chain_der = certificates::certificates(&trsp.data)?;
        let pem = certificates::private_key_pem(trsp.secret.expose())?.into_bytes();
        identity = Some(Arc::new(FileIdentity::new(&chain_der, &pem)?));
        let secret = Unwritten::new(authority.as_str(), pem);
        reference = IdentityRef::File {
            chain_der,
            key: secret.name().clone(),
        };
        secrets.push(secret);
    }
    Trust::new(authority.clone(), &account.auth.anchors_der, identity)?;
    Ok(reference)
}

/// OMA DM 2.0 leaves the protection of a session to HTTPS alone, so nothing else is taken.
fn is_https(uri: &str) -> bool {
    let Some((scheme, rest)) = uri.split_once("://") else {
        return false;
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    scheme.eq_ignore_ascii_case("https")
        && !host.is_empty()
        && !host.starts_with(':')
        && !host.contains('@')
}
