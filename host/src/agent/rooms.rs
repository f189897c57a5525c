//! The rooms, opened from the bottom up, and what each reaches of those above it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use super::plan::Plans;
use super::renewal::Renewals;
use super::services::PluginServices;
use super::start::AgentError;
use super::{Event, status};
use crate::accounts::{Accounts, Bootstrapped, Change};
use crate::authority::Authority;
use crate::config::Config;
use crate::isolation::Protection;
use crate::keys::Keys;
use crate::local::{AccountStatus, Admin, Apps, Daemon, Held, Status};
use crate::objects::Objects;
use crate::permissions::Permissions;
use crate::plugins::{AccountView, AlertRequest, Manifests, PluginError, Plugins, Services};
use crate::provisioning::{Applied, Cards, Policy, Provisioning};
use crate::session::Sessions;
use crate::store::{Options, Store, Transaction};

/// Handles of all rooms.
#[derive(Clone)]
pub(super) struct Rooms {
    pub(super) config: Rc<Config>,
    pub(super) protection: Protection,
    pub(super) ready: Instant,
    pub(super) store: Store,
    pub(super) keys: Keys,
    pub(super) permissions: Permissions,
    pub(super) accounts: Accounts,
    pub(super) plugins: Plugins,
    pub(super) objects: Objects,
    pub(super) sessions: Sessions,
    pub(super) apps: Apps,
    pub(super) cards: Cards,
}

impl Rooms {
    /// Opens them all. Needs a `LocalSet`.
    pub(super) fn open(
        config: Config,
        manifests: Manifests,
        policy: Policy,
        protection: Protection,
        provisioned: mpsc::Sender<Applied>,
    ) -> Result<Self, AgentError> {
        let limits = &config.limits;
        let store = Store::open(
            &config.state,
            Options {
                durability: config.testing.durability,
            },
        )?;
        let permissions = Permissions::new(store.clone(), &config.policy)?;
        let accounts = Accounts::new(store.clone(), permissions.clone(), &config.state)?;
        let keys = Keys::new(&config);
        let services = Rc::new(PluginServices {
            accounts: accounts.clone(),
            permissions: permissions.clone(),
        });
        let plugins = Plugins::start(&config, manifests, services)?;
        let objects = Objects::new(plugins.clone(), permissions.clone(), store.clone(), limits);
        let sessions = Sessions::new(
            objects.clone(),
            accounts.clone(),
            keys.clone(),
            plugins.clone(),
            store.clone(),
            limits,
        );
        let apps = Apps::new(
            objects.clone(),
            permissions.clone(),
            accounts.clone(),
            store.clone(),
            limits,
        );
        let provisioning = Provisioning::new(
            store.clone(),
            accounts.clone(),
            permissions.clone(),
            objects.clone(),
            policy,
        );
        let clock = accounts.clock().clone();
        let cards = Cards::new(provisioning, keys.clone(), limits, clock, provisioned);
        Ok(Self {
            config: Rc::new(config),
            protection,
            ready: Instant::now(),
            store,
            keys,
            permissions,
            accounts,
            plugins,
            objects,
            sessions,
            apps,
            cards,
        })
    }

    /// The operator's interface over them.
    pub(super) fn admin(&self, door: Door) -> Admin<Door> {
        Admin {
            daemon: door,
            accounts: self.accounts.clone(),
            objects: self.objects.clone(),
            permissions: self.permissions.clone(),
            plugins: self.plugins.clone(),
            cards: self.cards.clone(),
            store: self.store.clone(),
        }
    }
}

/// What `local` reaches of the daemon.
pub(super) struct Door {
    pub(super) tell: mpsc::Sender<Event>,
    pub(super) plans: Rc<RefCell<Plans>>,
    pub(super) renewals: Rc<Renewals>,
    pub(super) rooms: Rooms,
}

impl Daemon for Door {
    fn status(&self) -> Result<Status, String> {
        status::of(&self.rooms, &self.plans.borrow()).map_err(|e| e.to_string())
    }

    fn accounts(&self) -> Result<Vec<AccountStatus>, String> {
        status::of_accounts(&self.rooms, &self.plans.borrow()).map_err(|e| e.to_string())
    }

    async fn bootstrapped(&self, accounts: &[Bootstrapped]) {
        let told = accounts
            .iter()
            .filter(|done| done.change != Change::Unchanged);
        let told = told.map(|done| done.account.authority.clone()).collect();
        // A daemon that stops tells them after its next start: their alerts are in the store.
        let _stopped = self.tell.send(Event::Bootstrapped(told)).await;
    }

    async fn renew(&self, authority: &Authority, id: Option<&str>) -> Result<String, String> {
        let renewed = self.renewals.renew(authority, id).await;
        renewed.map_err(|error| error.to_string())
    }

    async fn session(&self, authority: &Authority) -> Held {
        match self.rooms.accounts.get(authority) {
            Ok(Some(account)) => {
                if let Some(why) = account.suspended {
                    return Err(format!("{authority} holds no sessions: {why}"));
                }
            }
            Ok(None) => {
                return Err(format!(
                    "{authority} has no account on this device; `bailiwick status` lists those that have"
                ));
            }
            Err(error) => return Err(error.to_string()),
        }
        let (waiting, told) = oneshot::channel();
        let wanted = Event::Wanted(authority.clone(), waiting);
        let stops = || "the daemon stops; try again when it runs".to_owned();
        self.tell.send(wanted).await.map_err(|_| stops())?;
        told.await.map_err(|_| stops())?
    }
}

/// For plug-ins that are compiled and not called.
pub(super) struct NoServices;

impl Services for NoServices {
    fn accounts(&self, _: &Authority) -> Result<Vec<AccountView>, PluginError> {
        Err(PluginError::NotSupported)
    }

    fn raise_alert(
        &self,
        _: &Transaction,
        _: &Authority,
        _: AlertRequest,
    ) -> Result<(), PluginError> {
        Err(PluginError::NotSupported)
    }
}
