//! The package loop: send, run what comes back, send again, until END.

use std::rc::Rc;
use std::time::Instant;

use bailiwick_protocol::package::Status;
use bailiwick_protocol::{
    HEADER_DEV_ID, MEDIA_INITIATION, MEDIA_REQUEST, MEDIA_RESPONSE, MoEntry, Package1, Package2,
    Package3,
};
use bytes::Bytes;
use hyper::Method;
use hyper::header::{ACCEPT, CONTENT_TYPE, COOKIE, HeaderName, HeaderValue};
use tracing::debug;

use super::alerts::Carried;
use super::cookies::Cookies;
use super::http::{Answer, Bounds, Outgoing};
use super::report::{ConnectionReport, PackageReport};
use super::{
    COMMANDS, Cause, Connection, Endpoint, HttpError, Inner, Reason, Report, accept, commands,
    record,
};
use crate::authority::Authority;
use crate::objects::Request;
use crate::plugins::Bearer;
use crate::store::Batch;

/// One session while it runs.
pub(super) struct Talk {
    pub(super) inner: Rc<Inner>,
    pub(super) authority: Authority,
    device_id: HeaderValue,
    /// Where the next package goes; CONT changes it.
    pub(super) server: Endpoint,
    /// Kept from package to package as long as the server does.
    connection: Option<Connection>,
    pub(super) bearer: Option<Bearer>,
    cookies: Cookies,
    /// Media type for bodies of HPUT and HPOST. `None`: the server wants none that the device writes.
    pub(super) body_type: Option<&'static str>,
    /// Bytes of data that the next package may still carry.
    pub(super) room: usize,
    /// Commands that were run.
    commands: usize,
}

/// A package on its way.
struct Package {
    kind: u8,
    media_type: &'static str,
    body: Bytes,
    carried: Carried,
}

impl Talk {
    pub(super) async fn new(inner: Rc<Inner>, authority: &Authority) -> Result<Self, Cause> {
        let server = Endpoint::parse(&inner.reach.server_uri(authority)?)?;
        let device_id = inner.reach.device_id().await?;
        let device_id = HeaderValue::from_str(&device_id).map_err(|_| {
            let reason = "its device identifier does not fit a header field".to_owned();
            super::ReachError::NoIdentity { reason }
        })?;
        Ok(Self {
            inner,
            authority: authority.clone(),
            device_id,
            server,
            connection: None,
            bearer: None,
            cookies: Cookies::default(),
            body_type: Some(bailiwick_protocol::object::MEDIA_TYPE),
            room: 0,
            commands: 0,
        })
    }

    /// Begins a command on the objects of the device.
    pub(super) fn begin(&self) -> Request {
        self.inner
            .objects
            .begin(&self.authority, self.bearer, self.inner.reach.now())
    }

    /// Runs the session until the server says END.
    pub(super) async fn hold(&mut self, reason: Reason, report: &mut Report) -> Result<(), Cause> {
        let mut package = self.package1(reason).await?;
        for number in 1..=self.inner.limits.packages {
            let inner = Rc::clone(&self.inner);
            let answer = tokio::select! {
                biased;
                () = inner.stopping() => return Err(Cause::Stopping),
                answer = self.deliver(number, &mut package, report) => answer?,
            };
            let commands = self.commands_of(number, &answer)?;
            let mut batch = Batch::new();
            package.carried.forget(&mut batch);
            record::answered(&mut batch, report);
            self.inner.store.commit(batch).await?;

            let Some(statuses) = self.run(commands, report).await? else {
                return Ok(());
            };
            // The account may have come to rest, or gone, since the last package.
            self.inner.reach.server_uri(&self.authority)?;
            package = self.package3(statuses)?;
        }
        Err(Cause::TooManyPackages {
            limit: self.inner.limits.packages,
        })
    }

    /// What is there, and why the session is opened.
    async fn package1(&mut self, reason: Reason) -> Result<Package, Cause> {
        let request = self.begin();
        let listed = self.inner.objects.list(&request).await?;
        request.commit().await?;
        let mos = listed.into_iter().map(|listed| MoEntry {
            moid: listed.moid,
            miids: listed.miids,
            ddf: None,
        });

        let carried = Carried::opening(&self.inner.store, &self.authority, reason)?;
        let package = Package1 {
            mos: mos.collect(),
            alerts: carried.alerts.clone(),
        };
        let body = package.to_bytes().into();
        Ok(Package {
            kind: 1,
            media_type: MEDIA_INITIATION,
            body,
            carried,
        })
    }

    /// What became of the commands.
    fn package3(&mut self, statuses: Vec<Status>) -> Result<Package, Cause> {
        let carried = Carried::following(&self.inner.store, &self.authority)?;
        let package = Package3 {
            statuses,
            alerts: carried.alerts.clone(),
        };
        let body = package.to_bytes().into();
        Ok(Package {
            kind: 3,
            media_type: MEDIA_RESPONSE,
            body,
            carried,
        })
    }

    /// Sends a package and takes its answer, or the end of the session.
    async fn deliver(
        &mut self,
        number: u32,
        package: &mut Package,
        report: &mut Report,
    ) -> Result<Answer, Cause> {
        report.packages.push(PackageReport {
            kind: package.kind,
            server: self.server.to_string(),
            bytes: package.body.len(),
            alerts: package
                .carried
                .alerts
                .iter()
                .map(|a| a.alert_type.clone())
                .collect(),
            answer_status: None,
            answer_bytes: 0,
            commands: Vec::new(),
        });
        let server = Box::new(self.server.clone());
        let answer = self.post(number, package, report).await?;
        let status = answer.status.as_u16();
        if let Some(package) = report.packages.last_mut() {
            package.answer_status = Some(status);
            package.answer_bytes = answer.body.len();
        }
        if status != 200 {
            return Err(Cause::Refused {
                package: number,
                server,
                status,
            });
        }
        self.cookies.take(&server, &answer.headers);
        if let Some(wanted) = accept::wanted(&answer.headers) {
            self.body_type = wanted;
        }
        Ok(answer)
    }

    /// POSTs a package. If the server has closed the connection since the last one, over a new connection; a
    /// package that may have arrived is never sent twice.
    async fn post(
        &mut self,
        number: u32,
        package: &Package,
        report: &mut Report,
    ) -> Result<Answer, Cause> {
        let bounds = Bounds {
            body: self.inner.limits.package_bytes,
            time: self.inner.limits.request(),
        };
        let unanswered = |server: &Endpoint, source| Cause::Unanswered {
            package: number,
            server: Box::new(server.clone()),
            source,
        };
        if let Some(mut connection) = self.connection.take() {
            match connection.exchange(self.outgoing(package), bounds).await {
                Ok(answer) => {
                    self.connection = Some(connection);
                    return Ok(answer);
                }
                Err(HttpError::NotSent) => debug!(server = %self.server, "connecting again"),
                Err(source) => return Err(unanswered(&self.server, source)),
            }
        }
        let reached = self
            .inner
            .reach
            .connect(&self.authority, &self.server)
            .await?;
        self.bearer = Some(reached.bearer);
        report.connections.push(ConnectionReport {
            server: self.server.to_string(),
            over: reached.over,
            bearer: reached.bearer,
        });
        let mut connection = reached.connection;
        match connection.exchange(self.outgoing(package), bounds).await {
            Ok(answer) => {
                self.connection = Some(connection);
                Ok(answer)
            }
            Err(source) => Err(unanswered(&self.server, source)),
        }
    }

    fn outgoing(&self, package: &Package) -> Outgoing {
        let device_id = HeaderName::from_bytes(HEADER_DEV_ID.as_bytes());
        let mut fields = vec![
            (CONTENT_TYPE, HeaderValue::from_static(package.media_type)),
            (ACCEPT, HeaderValue::from_static(MEDIA_REQUEST)),
        ];
        fields.extend(device_id.ok().map(|name| (name, self.device_id.clone())));
        fields.extend(
            self.cookies
                .field(&self.server)
                .map(|cookies| (COOKIE, cookies)),
        );
        Outgoing {
            method: Method::POST,
            to: self.server.clone(),
            fields,
            body: package.body.clone(),
        }
    }

    fn commands_of(&self, number: u32, answer: &Answer) -> Result<Package2, Cause> {
        let server = || Box::new(self.server.clone());
        // choice: servers in the field name JSON as what it is; both are read.
        if !answer.is_of(&[MEDIA_REQUEST, "application/json"]) {
            let found = answer.media_type().chars().take(80).collect();
            return Err(Cause::NotAPackage {
                package: number,
                server: server(),
                found,
            });
        }
        let package = Package2::parse(&answer.body, &self.inner.wire);
        package.map_err(|source| Cause::Unreadable {
            package: number,
            server: server(),
            source,
        })
    }

    /// Goes to another server for the rest of the session (CONT).
    pub(super) fn go_on_at(&mut self, server: Endpoint) {
        if !self.server.is_same_origin(&server) {
            self.connection = None;
        }
        self.server = server;
    }

    /// Runs all commands of a package, in order. `None`: END was among them, so no Package#3 follows.
    async fn run(
        &mut self,
        package: Package2,
        report: &mut Report,
    ) -> Result<Option<Vec<Status>>, Cause> {
        self.room = self.inner.limits.package_bytes / 4 * 3;
        let mut statuses = Vec::new();
        let mut ended = false;
        for command in package.commands {
            if self.inner.is_stopping() {
                return Err(Cause::Stopping);
            }
            if self.commands >= COMMANDS {
                return Err(Cause::TooManyCommands { limit: COMMANDS });
            }
            self.commands += 1;
            let began = Instant::now();
            let mut told = commands::describe(&command);
            match commands::run(self, command, &mut told).await {
                Some(status) => {
                    told.set_status(status.code);
                    statuses.push(status);
                }
                None => ended = true,
            }
            told.milliseconds = super::report::milliseconds(began.elapsed());
            if let Some(package) = report.packages.last_mut() {
                package.commands.push(told);
            }
        }
        Ok((!ended).then_some(statuses))
    }
}
