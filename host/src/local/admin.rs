//! `org.bailiwick.Admin`: what the operator can ask of the daemon, a function a method.

use std::time::{SystemTime, UNIX_EPOCH};

use bailiwick_protocol::{ClientUri, InstanceSelector, MoItem};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokio::net::UnixStream;

use super::cards::{Card, Provisioned};
use super::import::ImportCertificates;
use super::introspection;
use super::status::{AccountStatus, Status};
use super::varlink::{Call, Fault, Service};
use crate::accounts::{Accounts, Bootstrapped, Overwrite};
use crate::authority::{Authority, Instance};
use crate::keys::Pin;
use crate::objects::{ObjectError, Objects, Reading};
use crate::permissions::{Access, Explanation, Permissions};
use crate::plugins::Plugins;
use crate::provisioning::{AccountCommand, Applied, Cards, ProvisioningError, place_name};
use crate::store::Store;

/// The interface's name.
pub const INTERFACE: &str = "org.bailiwick.Admin";
/// Its description in Varlink's own language.
const DESCRIPTION: &str = include_str!("org.bailiwick.Admin.varlink");

/// How a session ended: whether well, its report, and the report in words; or why there was none.
pub type Held = Result<(bool, Value, String), String>;

/// What only the daemon as a whole can do.
pub trait Daemon {
    /// What runs, and what protects it.
    fn status(&self) -> Result<Status, String>;
    /// The accounts with their sessions.
    fn accounts(&self) -> Result<Vec<AccountStatus>, String>;
    /// Accounts were added or replaced: their servers are to be told.
    fn bootstrapped(&self, accounts: &[Bootstrapped]) -> impl Future<Output = ()>;
    /// Holds a session and waits for its end.
    fn session(&self, authority: &Authority) -> impl Future<Output = Held>;
    /// Renews what the device shows to an authority's servers; the id of the new certificate, or why there is none.
    fn renew(
        &self,
        authority: &Authority,
        id: Option<&str>,
    ) -> impl Future<Output = Result<String, String>>;
}

/// The interface over the rooms that it shows.
pub struct Admin<D> {
    /// The daemon around it.
    pub daemon: D,
    /// Whom we know.
    pub accounts: Accounts,
    /// What is managed.
    pub objects: Objects,
    /// Who may do what.
    pub permissions: Permissions,
    /// Who does the work.
    pub plugins: Plugins,
    /// What we are given.
    pub cards: Cards,
    /// Where it is kept.
    pub store: Store,
}

impl<D: Daemon> Service for Admin<D> {
    async fn answer(&self, call: Call) -> Result<Value, Fault> {
        let (interface, method) = call.method.rsplit_once('.').unwrap_or_default();
        match interface {
            INTERFACE => self.admin(method, call.parameters, &call.method).await,
            other => introspection::answer(
                (INTERFACE, DESCRIPTION),
                (other, method),
                call.parameters,
                &call.method,
            ),
        }
    }
}

/// Parameters of `ReleasePlugin`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Release {
    name: String,
}

/// Parameters of `Get`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Get {
    client_uri: String,
}

/// Parameters of `Explain`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Explain {
    authority: String,
    access: String,
    client_uri: String,
}

/// Parameters of `Bootstrap`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bootstrap {
    document: String,
    replace: Option<bool>,
}

/// Parameters of `Session`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Session {
    authority: String,
}

/// Parameters of `RenewCertificate`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RenewCertificate {
    authority: String,
    id: Option<String>,
}

/// Parameters of `UnlockCard`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unlock {
    serial: String,
    pin: Pin,
}

/// Parameters of `ForgetCard`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Forget {
    serial: String,
}

/// Parameters of `PlanCard`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanOf {
    reader: Option<String>,
}

/// Parameters of `RemoveCertificate`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Remove {
    authority: String,
    id: String,
}

impl<D: Daemon> Admin<D> {
    async fn admin(
        &self,
        method: &str,
        parameters: Map<String, Value>,
        full_name: &str,
    ) -> Result<Value, Fault> {
        match method {
            "Get" => self.get(read(parameters)?).await,
            "Status" => {
                read_none(&parameters)?;
                to_value(&self.daemon.status().map_err(failed)?)
            }
            "Accounts" => {
                read_none(&parameters)?;
                let accounts = self.daemon.accounts().map_err(failed)?;
                Ok(json!({ "accounts": to_value(&accounts)? }))
            }
            "Plugins" => {
                read_none(&parameters)?;
                Ok(json!({ "plugins": to_value(&self.plugins.status())? }))
            }
            "ReleasePlugin" => self.release(read(parameters)?),
            "Explain" => self.explain(read(parameters)?).await,
            "Bootstrap" => self.bootstrap(read(parameters)?).await,
            "Session" => self.session(read(parameters)?).await,
            "ImportCertificates" => {
                let parameters: ImportCertificates = read(parameters)?;
                parameters
                    .run(&self.accounts, &self.store)
                    .await?
                    .map_err(failed)
            }
            "RenewCertificate" => {
                let RenewCertificate { authority, id } = read(parameters)?;
                let authority = Authority::server(&authority);
                let renewed = self.daemon.renew(&authority, id.as_deref()).await;
                Ok(json!({ "certificate": renewed.map_err(failed)? }))
            }
            "Cards" => {
                read_none(&parameters)?;
                self.cards()
            }
            "PlanCard" => self.plan(read(parameters)?).await,
            "UnlockCard" => self.unlock(read(parameters)?).await,
            "ForgetCard" => {
                let Forget { serial } = read(parameters)?;
                changes(self.cards.forget(&serial).await)
            }
            "Certificates" => {
                read_none(&parameters)?;
                self.certificates()
            }
            "RemoveCertificate" => {
                let Remove { authority, id } = read(parameters)?;
                changes(self.cards.remove(&Authority::server(&authority), &id).await)
            }
            "Audit" => {
                read_none(&parameters)?;
                let entries = self.cards.provisioning().audit();
                let entries = entries.map_err(|e| failed(e.to_string()))?;
                Ok(json!({ "entries": to_value(&entries)? }))
            }
            _ => Err(Fault::method_not_found(full_name)),
        }
    }

    fn cards(&self) -> Result<Value, Fault> {
        let cards = self.cards.seen();
        let cards: Vec<_> = cards
            .iter()
            .map(|seen| {
                let plan = seen.read.as_ref().map(|read| self.cards.plan_of(read));
                let plan = plan.transpose()?;
                Ok(Card::seen(seen, plan.as_ref()))
            })
            .collect::<Result<_, ProvisioningError>>()
            .map_err(|e| failed(e.to_string()))?;
        Ok(json!({ "cards": to_value(&cards)? }))
    }

    async fn plan(&self, PlanOf { reader }: PlanOf) -> Result<Value, Fault> {
        let planned = self.cards.plan(reader.as_deref()).await;
        let (place, contents, plan) = planned.map_err(|e| failed(e.to_string()))?;
        let card = Card::read(place_name(&place).to_owned(), &contents, &plan);
        Ok(json!({ "card": to_value(&card)? }))
    }

    async fn unlock(&self, Unlock { serial, pin }: Unlock) -> Result<Value, Fault> {
        let unlocked = self.cards.unlock(&serial, pin).await;
        unlocked.map_err(|e| failed(e.to_string()))?;
        Ok(json!({}))
    }

    fn certificates(&self) -> Result<Value, Fault> {
        let credentials = self.cards.provisioning().credentials();
        let credentials = credentials.map_err(|e| failed(e.to_string()))?;
        let shown: Vec<_> = credentials.iter().filter_map(Provisioned::of).collect();
        Ok(json!({ "certificates": to_value(&shown)? }))
    }

    /// The same door as for a server, with the operator's permit.
    async fn get(&self, Get { client_uri }: Get) -> Result<Value, Fault> {
        let uri = parse_uri(&client_uri)?;
        let request = self.objects.begin(&Authority::operator(), None, now());
        let readings = self
            .objects
            .read_all(&request, &uri)
            .await
            .map_err(refused)?;
        let items: Vec<Value> = readings
            .into_iter()
            .filter_map(|reading| match reading {
                Reading::NotModified => None,
                Reading::Data(data) => Some(item(data.into_item())),
            })
            .collect();
        Ok(json!({ "items": items }))
    }

    fn release(&self, Release { name }: Release) -> Result<Value, Fault> {
        match self.plugins.release(&name) {
            true => Ok(json!({})),
            false => Err(failed(format!(
                "no plug-in is called {name:?}; `bailiwick plugins` lists them"
            ))),
        }
    }

    async fn explain(&self, parameters: Explain) -> Result<Value, Fault> {
        let Explain {
            authority,
            access,
            client_uri,
        } = parameters;
        let who = match authority.strip_prefix("local:") {
            // The operator, the device, and local applications.
            Some(name) => Authority::local(name),
            None => Authority::server(&authority),
        };
        let explanations = match access.as_str() {
            "create" => vec![self.explain_create(&who, &client_uri)],
            word => {
                let access = Access::ALL.into_iter().find(|access| access.name() == word);
                let access = access.ok_or_else(|| Fault::invalid_parameter("access"))?;
                let mut explanations = Vec::new();
                for instance in self.instances(&parse_uri(&client_uri)?).await? {
                    let explained = self.permissions.explain(&who, access, &instance, now());
                    let explained = explained.map_err(|e| failed(e.to_string()))?;
                    explanations.push(explanation(&instance.to_string(), &explained)?);
                }
                explanations
            }
        };
        Ok(json!({ "explanations": explanations }))
    }

    /// The instances that a ClientURI may mean. One that it names need not exist.
    async fn instances(&self, uri: &ClientUri) -> Result<Vec<Instance>, Fault> {
        if let InstanceSelector::Id(miid) = &uri.instance {
            return Ok(vec![Instance::new(&uri.moid, miid)]);
        }
        let all = ClientUri {
            moid: uri.moid.clone(),
            instance: InstanceSelector::All,
            path: Vec::new(),
            query: Default::default(),
        };
        let request = self.objects.begin(&Authority::operator(), None, now());
        let found = self
            .objects
            .resolve(&request, &all, Access::Read)
            .await
            .map_err(refused)?;
        Ok(found
            .iter()
            .map(|target| target.permit().instance().clone())
            .collect())
    }

    fn explain_create(&self, who: &Authority, moid: &str) -> Value {
        let (allowed, status, rule) =
            match self.permissions.may_create(&self.store.begin(), who, moid) {
                Ok(permit) => (true, 200, permit.rule().to_string()),
                Err(denied) => (false, denied.status().0, denied.rule()),
            };
        json!({ "on": moid, "allowed": allowed, "status": status, "rule": rule, "considered": [] })
    }

    async fn bootstrap(&self, parameters: Bootstrap) -> Result<Value, Fault> {
        let Bootstrap { document, replace } = parameters;
        let overwrite = match replace {
            Some(true) => Overwrite::Replace,
            _ => Overwrite::Refuse,
        };
        let begin = |owner: &Authority| {
            let request = self.objects.begin(owner, None, now());
            AccountCommand::new(self.objects.clone(), request)
        };
        let outcome = self
            .accounts
            .bootstrap(document.as_bytes(), overwrite, begin)
            .await;
        let accounts = outcome.map_err(|e| failed(e.to_string()))?;
        self.daemon.bootstrapped(&accounts).await;
        let lines = accounts.iter().map(|done| {
            Ok(json!({ "authority": done.account.authority.as_str(), "change": to_value(&done.change)? }))
        });
        Ok(json!({ "accounts": lines.collect::<Result<Vec<_>, Fault>>()? }))
    }

    async fn session(&self, Session { authority }: Session) -> Result<Value, Fault> {
        let held = self.daemon.session(&Authority::server(&authority)).await;
        let (succeeded, report, story) = held.map_err(failed)?;
        Ok(json!({ "succeeded": succeeded, "report": report, "story": story }))
    }
}

/// What an order of the operator has changed.
fn changes(applied: Result<Applied, ProvisioningError>) -> Result<Value, Fault> {
    let applied = applied.map_err(|e| failed(e.to_string()))?;
    Ok(json!({ "changes": to_value(&applied.steps)? }))
}

/// It cannot be done.
fn failed(message: impl Into<String>) -> Fault {
    Fault {
        error: format!("{INTERFACE}.Failed"),
        parameters: json!({ "message": message.into() }),
    }
}

/// A command would have got this status.
fn refused(error: ObjectError) -> Fault {
    Fault {
        error: format!("{INTERFACE}.Refused"),
        parameters: json!({ "status": error.status().0, "message": error.to_string() }),
    }
}

/// Tells a peer that `limit` connections are open already. The caller closes the connection.
pub fn refuse(stream: &UnixStream, limit: usize) {
    let message = format!("{limit} connections are open already; close one of them and try again");
    let reply =
        json!({ "error": format!("{INTERFACE}.Busy"), "parameters": { "message": message } });
    // A new connection takes this much without waiting; if not, the peer learns from the end.
    let _unheard = stream.try_write(format!("{reply}\0").as_bytes());
}

fn parse_uri(text: &str) -> Result<ClientUri, Fault> {
    ClientUri::parse(text).map_err(|e| Fault {
        error: format!("{INTERFACE}.Refused"),
        parameters: json!({ "status": 400, "message": e.to_string() }),
    })
}

/// The parameters of a method; the first one that does not fit is named, as well as can be.
pub(super) fn read<T: DeserializeOwned>(parameters: Map<String, Value>) -> Result<T, Fault> {
    T::deserialize(Value::Object(parameters)).map_err(|error| {
        let text = error.to_string();
        let named = text.starts_with("missing field") || text.starts_with("unknown field");
        let name = text.split('`').nth(1).filter(|_| named);
        Fault::invalid_parameter(name.unwrap_or(&text))
    })
}

pub(super) fn read_none(parameters: &Map<String, Value>) -> Result<(), Fault> {
    match parameters.keys().next() {
        None => Ok(()),
        Some(name) => Err(Fault::invalid_parameter(name)),
    }
}

fn to_value(value: &impl serde::Serialize) -> Result<Value, Fault> {
    serde_json::to_value(value).map_err(|e| failed(format!("the answer cannot be written: {e}")))
}

fn explanation(on: &str, explained: &Explanation) -> Result<Value, Fault> {
    let mut value = to_value(explained)?;
    if let Value::Object(members) = &mut value {
        members.insert("on".into(), on.into());
    }
    Ok(value)
}

/// An item as JSON, in the form of an MO serialization.
pub(super) fn item(item: MoItem) -> Value {
    let mut members = Map::new();
    let optional = [
        ("ClientURI", item.client_uri),
        ("DDF", item.ddf),
        ("CV", item.cv),
    ];
    members.extend(
        optional
            .into_iter()
            .filter_map(|(k, v)| Some((k.to_owned(), v?.into()))),
    );
    members.insert("MOData".into(), item.data);
    Value::Object(members)
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
