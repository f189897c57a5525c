//! `org.bailiwick.Apps`: what local applications can ask of the daemon, once a certificate has let them in.
//!
//! ```text
//!  Present ──▶ the chain counts for that authority ──▶ nonce ──▶ Prove: the key is there ──▶ principals
//!  Get, Put, Exec, Rights: the anchor still counts? ──▶ the door of `objects`, as each principal in turn
//! ```

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bailiwick_protocol::{ClientUri, MoItem, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::net::UnixStream;
use tokio::sync::{Notify, Semaphore};

use super::admin::{item, now, read, read_none};
use super::introspection;
use super::varlink::{self, Call, Fault, FrameLimits, Service};
use crate::accounts::{AccountError, Accounts};
use crate::authority::{Authority, Instance};
use crate::certificates::{Applicant, ApplicationError, Credential, NONCE, Rules};
use crate::config::Limits;
use crate::keys::Scheme;
use crate::objects::{ObjectError, Objects, Reading, Request};
use crate::permissions::{Access, Permissions};
use crate::plugins::ExecOutcome;
use crate::plugins::budget::Budget;
use crate::store::Store;

/// The interface's name.
pub const APPS_INTERFACE: &str = "org.bailiwick.Apps";
/// Its description in Varlink's own language.
const DESCRIPTION: &str = include_str!("org.bailiwick.Apps.varlink");

/// Connections. Stops whoever opens them without end.
const CONNECTIONS: usize = 256;
/// Connections of one user. Stops one user from taking all.
const CONNECTIONS_OF_ONE: usize = 128;
/// Bytes of one call: a chain, or what is written. Stops connections that fill memory, since nobody is known yet.
const CALL_BYTES: usize = 128 << 10;
/// How long a connection may stay without a proof.
const PATIENCE: Duration = Duration::from_secs(10);
/// Chains that a connection may show. Stops one that keeps the verifier busy.
const ATTEMPTS: u8 = 8;
/// Chains that are verified at a time, on threads of their own.
const VERIFIED_AT_ONCE: usize = 2;
/// Calls that work on objects at a time. Their answers are the largest thing that this door can make the host hold.
const CALLS_AT_ONCE: usize = 8;
/// Bytes of log lines a second. Stops a flood of refusals.
const LOG: usize = 4 << 10;
/// How often a connection that rests is looked at, at least.
const LOOK: Duration = Duration::from_secs(60);

/// The door for local applications; a cheap handle.
#[derive(Clone)]
pub struct Apps {
    inner: Rc<Inner>,
}

struct Inner {
    objects: Objects,
    permissions: Permissions,
    accounts: Accounts,
    store: Store,
    frames: FrameLimits,
    call: Duration,
    reply_bytes: usize,
    patience: Duration,
    verifying: Semaphore,
    working: Semaphore,
    /// Connections by user.
    seats: RefCell<BTreeMap<u32, usize>>,
    log: RefCell<Budget>,
}

/// Who is on the other end, as the kernel says.
#[derive(Clone, Copy, Debug)]
struct Peer {
    user: u32,
    process: u32,
}

impl Apps {
    /// The door over these rooms.
    pub fn new(
        objects: Objects,
        permissions: Permissions,
        accounts: Accounts,
        store: Store,
        limits: &Limits,
    ) -> Self {
        Self {
            inner: Rc::new(Inner {
                objects,
                permissions,
                accounts,
                store,
                frames: FrameLimits {
                    call_bytes: CALL_BYTES,
                    transfer: limits.request(),
                },
                call: limits.request(),
                reply_bytes: limits.package_bytes,
                patience: PATIENCE,
                verifying: Semaphore::new(VERIFIED_AT_ONCE),
                working: Semaphore::new(CALLS_AT_ONCE),
                seats: RefCell::default(),
                log: RefCell::new(Budget::new(LOG)),
            }),
        }
    }

    /// Serves one connection to its end.
    pub async fn serve(&self, stream: UnixStream) {
        let Some(peer) = Peer::of(&stream) else {
            return self
                .log("a peer of the socket for applications without credentials was refused");
        };
        let Some(_seat) = Seat::take(&self.inner, peer.user) else {
            let message = format!(
                "{CONNECTIONS_OF_ONE} connections are open already; close one of them and try again"
            );
            let busy = json!({ "error": format!("{APPS_INTERFACE}.Busy"), "parameters": { "message": message } });
            // A new connection takes this much without waiting; if not, the peer learns from the end.
            let _unheard = stream.try_write(format!("{busy}\0").as_bytes());
            return self.log(&format!(
                "a connection of user {} was refused: too many",
                peer.user
            ));
        };
        let visit = Visit {
            inner: Rc::clone(&self.inner),
            peer,
            begun: Instant::now(),
            attempts: Cell::new(0),
            stage: RefCell::default(),
            let_in: Notify::new(),
        };
        tokio::select! {
            served = varlink::serve(stream, &visit, self.inner.frames) => {
                if let Err(error) = served {
                    tracing::debug!(%error, process = peer.process, "a connection of an application was closed");
                }
            }
            why = visit.overstays() => tracing::debug!(why, process = peer.process, "a connection of an application was closed"),
        }
    }

    fn log(&self, line: &str) {
        self.inner.log(line);
    }
}

impl Inner {
    /// Within the budget: anybody can cause these lines.
    fn log(&self, line: &str) {
        if let Some(line) = self.log.borrow_mut().admit(line) {
            tracing::info!("{line}");
        }
    }
}

impl Peer {
    fn of(stream: &UnixStream) -> Option<Self> {
        let credentials = stream.peer_cred().ok()?;
        let process = u32::try_from(credentials.pid()?)
            .ok()
            .filter(|process| *process > 0)?;
        Some(Self {
            user: credentials.uid(),
            process,
        })
    }
}

/// A connection's place among those of its user.
struct Seat {
    inner: Rc<Inner>,
    user: u32,
}

impl Seat {
    fn take(inner: &Rc<Inner>, user: u32) -> Option<Self> {
        let mut seats = inner.seats.borrow_mut();
        if seats.values().sum::<usize>() >= CONNECTIONS {
            return None;
        }
        let taken = seats.entry(user).or_default();
        if *taken >= CONNECTIONS_OF_ONE {
            return None;
        }
        *taken += 1;
        Some(Self {
            inner: Rc::clone(inner),
            user,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.inner.seats.borrow_mut();
        if let Some(taken) = seats.get_mut(&self.user) {
            *taken -= 1;
            if *taken == 0 {
                seats.remove(&self.user);
            }
        }
    }
}

/// How far a connection has come.
#[derive(Clone, Default)]
enum Stage {
    /// It has shown nothing that counts.
    #[default]
    Stranger,
    /// Its certificate counts; whether the key is there is open. The nonce serves once.
    Challenged(Rc<Applicant>, [u8; NONCE]),
    /// It has proved the key.
    Admitted(Rc<Applicant>),
}

/// One connection.
struct Visit {
    inner: Rc<Inner>,
    peer: Peer,
    begun: Instant,
    attempts: Cell<u8>,
    stage: RefCell<Stage>,
    /// Somebody has been let in, so the connection ends at another time.
    let_in: Notify,
}

/// Parameters of `Present`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Present {
    authority: String,
    chain: Vec<String>,
}

/// Parameters of `Prove`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Prove {
    signature: String,
}

/// Parameters of `Get` and `Exec`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct On {
    client_uri: String,
}

/// Parameters of `Put`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Put {
    client_uri: String,
    data: Value,
}

impl Service for Visit {
    async fn answer(&self, call: Call) -> Result<Value, Fault> {
        let (interface, method) = call.method.rsplit_once('.').unwrap_or_default();
        match interface {
            APPS_INTERFACE => self.apps(method, call.parameters, &call.method).await,
            other => introspection::answer(
                (APPS_INTERFACE, DESCRIPTION),
                (other, method),
                call.parameters,
                &call.method,
            ),
        }
    }
}

impl Visit {
    async fn apps(
        &self,
        method: &str,
        parameters: Map<String, Value>,
        full_name: &str,
    ) -> Result<Value, Fault> {
        match method {
            "Present" => self.present(read(parameters)?).await,
            "Prove" => self.prove(&read(parameters)?),
            "Rights" => {
                read_none(&parameters)?;
                self.rights().await
            }
            "Get" => self.get(read(parameters)?).await,
            "Put" => self.put(read(parameters)?).await,
            "Exec" => self.exec(read(parameters)?).await,
            _ => Err(Fault::method_not_found(full_name)),
        }
    }

    async fn present(&self, Present { authority, chain }: Present) -> Result<Value, Fault> {
        self.stage.replace(Stage::Stranger);
        if self.attempts.get() >= ATTEMPTS {
            return Err(failed(
                "this connection has shown too many certificates; open another",
            ));
        }
        self.attempts.set(self.attempts.get() + 1);
        let chain = chain
            .iter()
            .map(|text| STANDARD.decode(text))
            .collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|_| Fault::invalid_parameter("chain"))?;
        let authority = Authority::server(&authority);
        let applicant = self.verify(&authority, chain).await?;
        let mut nonce = [0; NONCE];
        aws_lc_rs::rand::fill(&mut nonce)
            .map_err(|_| failed("the system gives no random bytes; try again"))?;
        let answer = json!({
            "nonce": STANDARD.encode(nonce),
            "scheme": scheme_name(applicant.scheme()),
            "process": self.peer.process,
        });
        self.stage
            .replace(Stage::Challenged(Rc::new(applicant), nonce));
        Ok(answer)
    }

    /// On a thread of its own: it may take a hundred signatures.
    async fn verify(&self, authority: &Authority, chain: Vec<Vec<u8>>) -> Result<Applicant, Fault> {
        let _turn = self.inner.verifying.acquire().await;
        let (credentials, rules) = self.measure(authority)?;
        let of = authority.clone();
        let verifying = move || Applicant::verify(&of, chain, &credentials, &rules);
        let verified = tokio::task::spawn_blocking(verifying).await;
        let verified =
            verified.map_err(|_| failed("the certificate cannot be verified now; try again"))?;
        verified.map_err(|error| self.not_admitted(authority, &error))
    }

    fn prove(&self, Prove { signature }: &Prove) -> Result<Value, Fault> {
        let Stage::Challenged(applicant, nonce) = self.stage.take() else {
            return Err(failed("nothing is to be signed; call Present first"));
        };
        let signature = STANDARD
            .decode(signature)
            .map_err(|_| Fault::invalid_parameter("signature"))?;
        let Peer { user, process } = self.peer;
        applicant
            .check(&nonce, process, &signature)
            .map_err(|error| self.not_admitted(applicant.authority(), &error))?;
        let names = names(&applicant);
        self.inner.log(&format!(
            "process {process} of user {user} was let in as {}",
            names
                .iter()
                .map(Authority::as_str)
                .collect::<Vec<_>>()
                .join(", ")
        ));
        let answer = json!({
            "principals": names,
            "notAfter": applicant.not_after(),
        });
        self.stage.replace(Stage::Admitted(applicant));
        self.let_in.notify_one();
        Ok(answer)
    }

    async fn rights(&self) -> Result<Value, Fault> {
        let applicant = self.admitted().await?;
        let mut all = Vec::new();
        for who in names(&applicant) {
            let rights = self.work(async {
                let request = self.inner.objects.begin(&who, None, now());
                self.rights_of(&request).await
            });
            all.extend(rights.await?.map_err(|error| refused(&error))?);
        }
        bounded(json!({ "rights": all }), self.inner.reply_bytes)
    }

    async fn rights_of(&self, request: &Request) -> Result<Vec<Value>, ObjectError> {
        let (who, permissions) = (request.authority(), &self.inner.permissions);
        let listed = self.inner.objects.list(request).await?.into_iter();
        let mut instances: Vec<Instance> = listed
            .flat_map(|listed| {
                listed
                    .miids
                    .into_iter()
                    .map(move |miid| Instance::new(&listed.moid, miid))
            })
            .collect();
        let granted = permissions.grants(request.transaction(), |grant| grant.to == *who)?;
        instances.extend(granted.into_iter().map(|(instance, _)| instance));
        instances.sort();
        instances.dedup();
        let rights = instances.iter().filter_map(|instance| {
            let may = |access: &Access| {
                let permit =
                    permissions.permit(request.transaction(), who, *access, instance, now());
                permit.is_ok()
            };
            let accesses = [Access::Read, Access::Write, Access::Execute];
            let rights: Vec<&str> = accesses
                .iter()
                .filter(|access| may(access))
                .map(|access| access.name())
                .collect();
            let right = json!({ "on": instance.to_string(), "to": who, "rights": rights });
            (!rights.is_empty()).then_some(right)
        });
        Ok(rights.collect())
    }

    /// What any of the principals may read.
    async fn get(&self, On { client_uri }: On) -> Result<Value, Fault> {
        let uri = parse_uri(&client_uri)?;
        let applicant = self.admitted().await?;
        let mut items = BTreeMap::new();
        let mut refusal = None;
        for who in names(&applicant) {
            let readings = self.work(async {
                let request = self.inner.objects.begin(&who, None, now());
                self.inner.objects.read_all(&request, &uri).await
            });
            match readings.await? {
                Ok(readings) => {
                    for reading in readings {
                        if let Reading::Data(data) = reading {
                            items.insert(data.uri.to_string(), item(data.into_item()));
                        }
                    }
                    if !uri.is_set() {
                        break;
                    }
                }
                Err(error) => refusal = Some(self.passed_on(refusal, error, &who)?),
            }
        }
        match refusal {
            Some(error) if items.is_empty() => Err(refused(&error)),
            _ => bounded(
                json!({ "items": items.into_values().collect::<Vec<_>>() }),
                self.inner.reply_bytes,
            ),
        }
    }

    async fn put(&self, Put { client_uri, data }: Put) -> Result<Value, Fault> {
        let uri = parse_uri(&client_uri)?;
        let item = MoItem {
            client_uri: None,
            ddf: None,
            cv: None,
            data,
        };
        self.change(async |request: &Request| {
            self.inner.objects.store(request, Some(&uri), &item).await?;
            Ok(json!({}))
        })
        .await
    }

    async fn exec(&self, On { client_uri }: On) -> Result<Value, Fault> {
        let uri = parse_uri(&client_uri)?;
        self.change(async |request: &Request| {
            let outcome = self.inner.objects.execute_one(request, &uri).await?;
            Ok(json!({ "started": outcome == ExecOutcome::Started }))
        })
        .await
    }

    /// A command of the first principal that may, durable before it is answered.
    async fn change(
        &self,
        command: impl AsyncFn(&Request) -> Result<Value, ObjectError>,
    ) -> Result<Value, Fault> {
        let applicant = self.admitted().await?;
        let mut refusal = None;
        for who in names(&applicant) {
            let changed = self.work(async {
                let request = self.inner.objects.begin(&who, None, now());
                let answer = command(&request).await?;
                request.commit().await?;
                Ok(answer)
            });
            match changed.await? {
                Ok(answer) => return Ok(answer),
                Err(error) => refusal = Some(self.passed_on(refusal, error, &who)?),
            }
        }
        // An applicant without a principal is not let in.
        Err(refusal.map_or_else(
            || failed("the certificate names nobody"),
            |error| refused(&error),
        ))
    }

    /// One of few at a time, and not for ever.
    async fn work<T>(
        &self,
        work: impl Future<Output = Result<T, ObjectError>>,
    ) -> Result<Result<T, ObjectError>, Fault> {
        let _turn = self.inner.working.acquire().await;
        let outcome = tokio::time::timeout(self.inner.call, work).await;
        outcome.map_err(|_| failed("the device took too long; try again"))
    }

    /// A principal that may not passes on to the next. What is kept is the most telling refusal; anything else ends the
    /// call.
    fn passed_on(
        &self,
        before: Option<ObjectError>,
        error: ObjectError,
        who: &Authority,
    ) -> Result<ObjectError, Fault> {
        if !error.is_denied() && !error.is_not_found() {
            return Err(refused(&error));
        }
        tracing::debug!(%who, process = self.peer.process, %error, "an application was refused");
        Ok(match before {
            Some(before) if before.status() == StatusCode::FORBIDDEN => before,
            _ => error,
        })
    }

    /// Whom the connection acts as, if what let it in still counts at this moment.
    async fn admitted(&self) -> Result<Rc<Applicant>, Fault> {
        let Stage::Admitted(applicant) = self.stage.borrow().clone() else {
            return Err(not_admitted(
                "nobody has been let in on this connection; call Present and Prove",
            ));
        };
        let measured = self.measure(applicant.authority());
        let (credentials, rules) = measured.inspect_err(|_| drop(self.stage.take()))?;
        if let Err(error) = applicant.recheck(&credentials, &rules) {
            self.stage.replace(Stage::Stranger);
            return Err(self.not_admitted(applicant.authority(), &error));
        }
        Ok(applicant)
    }

    /// What certificates of an authority's applications are held against.
    fn measure(&self, authority: &Authority) -> Result<(Vec<Credential>, Rules), Fault> {
        let rules = self.inner.accounts.rules_of(authority);
        let rules = rules.map_err(|error| match error {
            AccountError::Suspended { .. } => not_admitted(error.to_string()),
            error => failed(error.to_string()),
        })?;
        let credentials = Credential::of(&self.inner.store.begin(), authority);
        let credentials = credentials.map_err(|error| failed(error.to_string()))?;
        Ok((credentials, rules))
    }

    /// Ends when the connection has to.
    async fn overstays(&self) -> &'static str {
        loop {
            let ends = match &*self.stage.borrow() {
                Stage::Admitted(applicant) => Some(applicant.not_after()),
                _ => None,
            };
            let left = match ends {
                // The last second counts to its end.
                Some(end) => match (end + 1).saturating_sub(now()) {
                    0 => return "its certificate has ended",
                    left => Duration::from_secs(left),
                },
                None => match self.inner.patience.saturating_sub(self.begun.elapsed()) {
                    Duration::ZERO => return "it has proved nothing",
                    left => left,
                },
            };
            let _either = tokio::time::timeout(left.min(LOOK), self.let_in.notified()).await;
        }
    }

    fn not_admitted(&self, authority: &Authority, error: &ApplicationError) -> Fault {
        let Peer { user, process } = self.peer;
        self.inner.log(&format!(
            "process {process} of user {user} was not let in for {authority}: {error}"
        ));
        not_admitted(error.to_string())
    }
}

/// The principals as rights are given to them.
fn names(applicant: &Applicant) -> Vec<Authority> {
    let principals = applicant.principals().iter();
    principals
        .map(|principal| principal.of(applicant.authority()))
        .collect()
}

/// RFC 8446 §4.2.3.
fn scheme_name(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::RsaPkcs1Sha256 => "rsa_pkcs1_sha256",
        Scheme::RsaPkcs1Sha384 => "rsa_pkcs1_sha384",
        Scheme::RsaPkcs1Sha512 => "rsa_pkcs1_sha512",
        Scheme::RsaPssSha256 => "rsa_pss_rsae_sha256",
        Scheme::RsaPssSha384 => "rsa_pss_rsae_sha384",
        Scheme::RsaPssSha512 => "rsa_pss_rsae_sha512",
        Scheme::EcdsaP256Sha256 => "ecdsa_secp256r1_sha256",
        Scheme::EcdsaP384Sha384 => "ecdsa_secp384r1_sha384",
        Scheme::Ed25519 => "ed25519",
    }
}

fn bounded(answer: Value, limit: usize) -> Result<Value, Fault> {
    match answer.to_string().len() {
        bytes if bytes > limit => Err(Fault {
            error: format!("{APPS_INTERFACE}.Refused"),
            parameters: json!({
                "status": StatusCode::TOO_LARGE.0,
                "message": format!("the answer has {bytes} bytes, more than {limit}; read less at once"),
            }),
        }),
        _ => Ok(answer),
    }
}

fn parse_uri(text: &str) -> Result<ClientUri, Fault> {
    ClientUri::parse(text).map_err(|error| Fault {
        error: format!("{APPS_INTERFACE}.Refused"),
        parameters: json!({ "status": StatusCode::BAD_REQUEST.0, "message": error.to_string() }),
    })
}

/// What is not there and what must not be seen are told alike.
fn refused(error: &ObjectError) -> Fault {
    let message = match error.status() {
        StatusCode::NOT_FOUND => {
            "nothing that this application has a right on is called that".to_owned()
        }
        _ => error.to_string(),
    };
    Fault {
        error: format!("{APPS_INTERFACE}.Refused"),
        parameters: json!({ "status": error.status().0, "message": message }),
    }
}

fn failed(message: impl Into<String>) -> Fault {
    Fault {
        error: format!("{APPS_INTERFACE}.Failed"),
        parameters: json!({ "message": message.into() }),
    }
}

fn not_admitted(message: impl Into<String>) -> Fault {
    Fault {
        error: format!("{APPS_INTERFACE}.NotAdmitted"),
        parameters: json!({ "message": message.into() }),
    }
}

#[cfg(test)]
mod tests;
