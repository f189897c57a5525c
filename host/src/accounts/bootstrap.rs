//! Bootstrap (OMA DM 2.0, Bootstrap): a document becomes accounts, all of them or none.
//!
//! ```text
//!  parse ─▶ check every account: names, https, anchors, key belongs to certificate
//!        ─▶ compare with what is there: new, unchanged, or another's
//!        ─▶ write secrets to files   ─▶ one transaction: accounts, rights, instances, alerts
//! ```

use std::rc::Rc;

use serde::Serialize;

use bailiwick_protocol as protocol;
use bailiwick_protocol::MoItem;
use bailiwick_protocol::bootstrap::{BootstrapDocument, SecMode};

use super::secrets::Unwritten;
use super::{
    Account, Accounts, BootstrapError, BootstrapServer, IdentityRef, NotificationKey, Services,
};
use crate::authority::Authority;
use crate::certificates::{self, CertificateError, Clock, Origin, Trust};
use crate::store::{StoreError, Transaction};

/// Anchors that a document may give an account. Leaves room for those that other sources give.
const MAX_ANCHORS: usize = 32;

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

/// An account of a document that has passed every check, and its secrets.
#[derive(Clone)]
pub struct Prepared {
    pub(super) account: Account,
    pub(super) permitted: Vec<String>,
    pub(super) secrets: Vec<Unwritten>,
}

impl Prepared {
    /// The account; the name of its instance is not chosen yet.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The types that it permits its authority, sorted.
    pub fn permitted(&self) -> &[String] {
        &self.permitted
    }
}

/// Where a document comes from, and what comes with it for accounts that bring no anchors or identity of their own.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    /// Where from.
    pub origin: Origin,
    /// Anchors for the authority of the account, DER.
    pub anchors_der: &'a [&'a [u8]],
}

impl Source<'_> {
    /// A document by itself.
    pub const DOCUMENT: Source<'static> = Source {
        origin: Origin::Bootstrap,
        anchors_der: &[],
    };
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
        let prepared = document
            .accounts
            .iter()
            .map(|account| prepare(account, &Source::DOCUMENT))
            .collect::<Result<Vec<_>, _>>()?;
        let Some(first) = prepared
            .first()
            .map(|first| first.account.authority.clone())
        else {
            return Ok(Vec::new());
        };
        let command = begin(&first);
        let mut changing = self.change(command.transaction()).await;
        let mut outcome = Vec::new();
        for account in prepared {
            outcome.push(changing.put(account, overwrite)?);
        }
        if outcome.iter().all(|done| done.change == Change::Unchanged) {
            return Ok(outcome);
        }
        store_objects(&command, &document.objects).await?;
        changing.commit(command.commit()).await?;
        for Bootstrapped { account, change } in &outcome {
            tracing::info!(authority = %account.authority, ?change, "account bootstrapped");
        }
        Ok(outcome)
    }
}

/// Stores the objects of a document, in their order.
pub async fn store_objects(
    command: &impl Command,
    objects: &[MoItem],
) -> Result<(), BootstrapError> {
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

/// Everything that can be said about an account of a document without looking at the device.
pub fn prepare(
    account: &protocol::Account,
    source: &Source<'_>,
) -> Result<Prepared, BootstrapError> {
    let srv_id = account.srv_id.clone();
    let authority = Authority::server(&srv_id);
    if authority.as_str() != srv_id || authority.is_local() || srv_id == "*" {
        return Err(BootstrapError::Reserved { srv_id });
    }
    if !is_https(&account.srv_uri) {
        return Err(BootstrapError::Insecure { srv_id });
    }
    let services = [&account.est_uri, &account.auth.crl_uri];
    if services.into_iter().flatten().any(|uri| !is_https(uri)) {
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
    let identity =
        check_credentials(account, &authority, source, &mut secrets).map_err(|source| {
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
        origin: source.origin.clone(),
        suspended: None,
        services: services_of(account),
    };
    Ok(Prepared {
        account,
        permitted,
        secrets,
    })
}

/// Makes the trust that sessions will use, so that what cannot work is refused now.
fn check_credentials(
    account: &protocol::Account,
    authority: &Authority,
    source: &Source<'_>,
    secrets: &mut Vec<Unwritten>,
) -> Result<IdentityRef, CertificateError> {
    let mut reference = IdentityRef::None;
    if let Some(trsp) = &account.auth.trsp {
        let chain_der = certificates::certificates(&trsp.data)?;
        let pem = certificates::private_key_pem(trsp.secret.expose())?.into_bytes();
        certificates::check_pair(&chain_der, &pem)?;
        let secret = Unwritten::new(authority.as_str(), pem);
        reference = IdentityRef::File {
            chain_der,
            key: secret.name().clone(),
        };
        secrets.push(secret);
    }
    let own = &account.auth.anchors_der;
    if own.len() > MAX_ANCHORS {
        return Err(CertificateError::TooManyAnchors { limit: MAX_ANCHORS });
    }
    let all: Vec<_> = match own.is_empty() {
        true => source.anchors_der.iter().map(|der| der.to_vec()).collect(),
        false => own.clone(),
    };
    let rules = services_of(account).rules(None, Clock::default());
    Trust::by_rules(authority.clone(), &all, &rules, None)?;
    Ok(reference)
}

fn services_of(account: &protocol::Account) -> Services {
    Services {
        est_uri: account.est_uri.clone(),
        crl_uri: account.auth.crl_uri.clone(),
        crls_der: account.auth.crls_der.clone(),
        pins: account.auth.pins.clone(),
    }
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
