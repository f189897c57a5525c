//! Generic alerts that wait for a package (OMA DM 2.0, generic alerts): kept until the package that carried them was
//! answered, so that neither a restart nor a lost connection costs one.

use bailiwick_protocol::alert::{BOOTSTRAP_COMPLETE, CLIENT_INITIATED, SERVER_INITIATED};
use bailiwick_protocol::{Alert, ClientUri, Mark};

use super::Reason;
use crate::accounts::queue_alert;
use crate::authority::Authority;
use crate::plugins::{AlertRequest, PluginError};
use crate::store::{Batch, Store, StoreError, Table, Transaction, tables};

/// Alerts that wait for one authority. Stops a plug-in that raises them faster than sessions carry them.
const WAITING: usize = 256;
/// Alerts that one package carries.
const CARRIED: usize = 64;
/// Bytes of the data of one alert.
const DATA: usize = 16 << 10;
/// Bytes of the type of one alert.
const TYPE: usize = 255;

/// Queues an alert that a plug-in raises for an authority; it rides in the next package of its sessions.
pub fn raise_alert(
    transaction: &Transaction,
    to: &Authority,
    alert: &AlertRequest,
) -> Result<(), PluginError> {
    check(alert).map_err(|reason| PluginError::InvalidArgument(Some(reason.to_owned())))?;
    let unavailable = |error: StoreError| PluginError::Unavailable(Some(error.to_string()));
    let waiting = transaction.scan(Table::Alerts, &tables::prefix(&[to.as_str()]));
    if waiting.map_err(unavailable)?.len() >= WAITING {
        return Err(PluginError::TooLarge);
    }
    queue_alert(transaction, to, alert).map_err(unavailable)
}

fn check(alert: &AlertRequest) -> Result<(), &'static str> {
    let alert_type = alert.alert_type.as_str();
    let printable = !alert_type
        .chars()
        .any(|c| c.is_control() || c.is_whitespace());
    if alert_type.is_empty() || alert_type.len() > TYPE || !printable {
        return Err("an alert type has 1 to 255 bytes, without blanks");
    }
    if [BOOTSTRAP_COMPLETE, CLIENT_INITIATED, SERVER_INITIATED].contains(&alert_type) {
        return Err("why a session is opened is for the host to say");
    }
    if alert
        .mark
        .as_deref()
        .is_some_and(|name| Mark::from_name(name).is_none())
    {
        return Err("this mark is none of those that OMA DM 2.0 knows");
    }
    match alert.data.as_deref().map_or(0, str::len) {
        0..=DATA => Ok(()),
        _ => Err("the data of an alert have at most 16 KiB"),
    }
}

/// The alerts of one package, and the keys by which they are forgotten when it was answered.
#[derive(Debug, Default)]
pub(super) struct Carried {
    pub(super) alerts: Vec<Alert>,
    keys: Vec<String>,
}

impl Carried {
    /// Those of Package#1: first the one that says why the session is opened, then what waits.
    ///
    /// A bootstrap that was not reported yet is the reason of any session.
    pub(super) fn opening(
        store: &Store,
        authority: &Authority,
        reason: Reason,
    ) -> Result<Self, StoreError> {
        let mut carried = Self::default();
        let mut pending = false;
        for (key, alert) in waiting(store, authority)? {
            match alert.alert_type.as_str() {
                BOOTSTRAP_COMPLETE => {
                    pending = true;
                    carried.keys.push(key);
                }
                _ => carried.add(key, alert),
            }
        }
        let why = match reason {
            Reason::BootstrapComplete => BOOTSTRAP_COMPLETE,
            Reason::ClientInitiated if pending => BOOTSTRAP_COMPLETE,
            Reason::ClientInitiated => CLIENT_INITIATED,
        };
        carried.alerts.insert(0, Alert::new(why));
        Ok(carried)
    }

    /// Those of Package#3: what waits, oldest first, as much as fits into one package. A bootstrap that ends while
    /// a session runs is for the next one.
    pub(super) fn following(store: &Store, authority: &Authority) -> Result<Self, StoreError> {
        let mut carried = Self::default();
        for (key, alert) in waiting(store, authority)? {
            if alert.alert_type != BOOTSTRAP_COMPLETE {
                carried.add(key, alert);
            }
        }
        Ok(carried)
    }

    fn add(&mut self, key: String, alert: AlertRequest) {
        if self.alerts.len() < CARRIED {
            self.alerts.push(alert_of(alert));
            self.keys.push(key);
        }
    }

    /// The package was answered: its alerts have arrived.
    pub(super) fn forget(self, batch: &mut Batch) {
        for key in self.keys {
            batch.delete(Table::Alerts, key);
        }
    }
}

/// The authorities whose bootstrap was not reported yet.
pub(super) fn unreported_bootstraps(store: &Store) -> Result<Vec<Authority>, StoreError> {
    let mut found = Vec::new();
    for (key, alert) in store.scan_json::<AlertRequest>(Table::Alerts, "")? {
        let authority = tables::parts(&key).into_iter().next();
        let Some(authority) = authority.map(|srv_id| Authority::server(&srv_id)) else {
            continue;
        };
        if alert.alert_type == BOOTSTRAP_COMPLETE && !found.contains(&authority) {
            found.push(authority);
        }
    }
    Ok(found)
}

fn waiting(
    store: &Store,
    authority: &Authority,
) -> Result<Vec<(String, AlertRequest)>, StoreError> {
    store.scan_json(Table::Alerts, &tables::prefix(&[authority.as_str()]))
}

fn alert_of(request: AlertRequest) -> Alert {
    let AlertRequest {
        alert_type,
        source,
        mark,
        data,
    } = request;
    let source = source.map(|(moid, miid, path)| ClientUri::node(&moid, &miid, &path).to_string());
    Alert {
        source,
        mark: mark.as_deref().and_then(Mark::from_name),
        // choice: as in OMA's own examples, payload that DM 2.0 does not define rides in DM1x.
        data: data.map(|data| serde_json::json!({ "DM1x": data })),
        ..Alert::new(&alert_type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(alert_type: &str) -> AlertRequest {
        AlertRequest {
            alert_type: alert_type.into(),
            source: None,
            mark: None,
            data: None,
        }
    }

    async fn raise(store: &Store, to: &Authority, types: &[&str]) {
        let tx = store.begin();
        for alert_type in types {
            match *alert_type {
                BOOTSTRAP_COMPLETE => queue_alert(&tx, to, &alert(alert_type)).expect("a write"),
                _ => raise_alert(&tx, to, &alert(alert_type)).expect("room"),
            }
        }
        tx.commit().await.expect("a commit");
    }

    fn types(carried: &Carried) -> Vec<&str> {
        carried
            .alerts
            .iter()
            .map(|alert| alert.alert_type.as_str())
            .collect()
    }

    async fn answered(store: &Store, carried: Carried) {
        let mut batch = Batch::new();
        carried.forget(&mut batch);
        store.commit(batch).await.expect("a commit");
    }

    #[tokio::test]
    async fn alerts_wait_until_a_package_that_carried_them_was_answered() {
        let store = Store::in_memory().expect("a store");
        let (north, south) = (Authority::server("north"), Authority::server("south"));
        raise(&store, &north, &["first", "second"]).await;
        raise(&store, &south, &["other"]).await;

        let unanswered = Carried::opening(&store, &north, Reason::ClientInitiated).expect("rows");
        assert_eq!(types(&unanswered), [CLIENT_INITIATED, "first", "second"]);
        let again = Carried::opening(&store, &north, Reason::ClientInitiated).expect("rows");
        assert_eq!(types(&again), [CLIENT_INITIATED, "first", "second"]);

        raise(&store, &north, &["third"]).await;
        answered(&store, again).await;
        let next = Carried::following(&store, &north).expect("rows");
        assert_eq!(types(&next), ["third"]);
        let others = Carried::following(&store, &south).expect("rows");
        assert_eq!(types(&others), ["other"]);
    }

    #[tokio::test]
    async fn a_bootstrap_is_the_reason_of_the_next_session_whatever_opens_it() {
        let store = Store::in_memory().expect("a store");
        let to = Authority::server("urn:dm:north");
        raise(
            &store,
            &to,
            &["other", BOOTSTRAP_COMPLETE, BOOTSTRAP_COMPLETE],
        )
        .await;
        assert_eq!(
            unreported_bootstraps(&store).expect("rows"),
            std::slice::from_ref(&to)
        );
        let in_between = Carried::following(&store, &to).expect("rows");
        assert_eq!(types(&in_between), ["other"]);

        for reason in [Reason::ClientInitiated, Reason::BootstrapComplete] {
            let carried = Carried::opening(&store, &to, reason).expect("rows");
            assert_eq!(types(&carried), [BOOTSTRAP_COMPLETE, "other"]);
        }
        let carried = Carried::opening(&store, &to, Reason::ClientInitiated).expect("rows");
        answered(&store, carried).await;
        assert!(unreported_bootstraps(&store).expect("rows").is_empty());
        let carried = Carried::opening(&store, &to, Reason::ClientInitiated).expect("rows");
        assert_eq!(types(&carried), [CLIENT_INITIATED]);
    }

    #[tokio::test]
    async fn queue_and_package_are_bounded() {
        let store = Store::in_memory().expect("a store");
        let to = Authority::server("north");
        raise(&store, &to, &["a"; WAITING]).await;
        let full = raise_alert(&store.begin(), &to, &alert("a"));
        assert_eq!(full, Err(PluginError::TooLarge));
        let carried = Carried::following(&store, &to).expect("rows");
        assert_eq!(carried.alerts.len(), CARRIED);
    }

    #[test]
    fn what_plug_ins_raise_is_checked() {
        let with = |mark: Option<&str>, data: usize| AlertRequest {
            mark: mark.map(str::to_owned),
            data: Some("x".repeat(data)),
            ..alert("urn:x")
        };
        for good in [alert("urn:x"), with(Some("critical"), 0), with(None, DATA)] {
            assert_eq!(check(&good), Ok(()));
        }
        let bad = [
            alert(""),
            alert("a b"),
            alert(&"x".repeat(TYPE + 1)),
            alert(BOOTSTRAP_COMPLETE),
            alert(CLIENT_INITIATED),
            with(Some("terrible"), 0),
            with(None, DATA + 1),
        ];
        for bad in bad {
            assert!(check(&bad).is_err(), "{:?}", bad.alert_type);
        }
        let sent = alert_of(AlertRequest {
            source: Some(("m".into(), "1".into(), vec!["a/b".into()])),
            ..with(Some("critical"), 2)
        });
        assert_eq!(sent.source.as_deref(), Some("m/1/a%2Fb"));
        assert_eq!(sent.mark, Some(Mark::Critical));
        assert_eq!(sent.data, Some(serde_json::json!({ "DM1x": "xx" })));
    }
}
