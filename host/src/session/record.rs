//! What outlives a session: that it runs (`Table::Sessions`), and how the last one of each authority ended
//! (`Table::Results`).

use serde::{Deserialize, Serialize};

use super::{Reason, Report};
use crate::authority::Authority;
use crate::store::{Batch, Store, StoreError, Table, tables};

/// How far a session has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Package#1 has not been answered yet.
    Opening,
    /// Package#1 was answered.
    Open,
}

/// A session that runs, or ran when the device stopped.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    authority: Authority,
    reason: Reason,
    started: u64,
    phase: Phase,
    packages: usize,
}

/// How the last session of an authority ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Last {
    /// With whom.
    pub authority: Authority,
    /// Why it was opened.
    pub reason: Reason,
    /// Unix time, seconds.
    pub started: u64,
    /// How long it took; `None`: the device stopped meanwhile.
    pub milliseconds: Option<u64>,
    /// Packages that were answered.
    pub packages: usize,
    /// Commands that were run.
    pub commands: usize,
    /// Why it failed; `None`: the server ended it.
    pub error: Option<String>,
}

/// Notes that a session has begun.
pub(super) async fn begin(store: &Store, report: &Report) -> Result<(), StoreError> {
    let mut batch = Batch::new();
    put_running(&mut batch, report, Phase::Opening);
    store.commit(batch).await
}

/// Adds to `batch` that one more package was answered.
pub(super) fn answered(batch: &mut Batch, report: &Report) {
    put_running(batch, report, Phase::Open);
}

/// Notes that a session has ended, and how.
pub(super) async fn end(
    store: &Store,
    authority: &Authority,
    report: &Report,
) -> Result<(), StoreError> {
    let mut batch = Batch::new();
    batch.delete(Table::Sessions, key(authority));
    let last = Last {
        authority: authority.clone(),
        reason: report.reason,
        started: report.started,
        milliseconds: Some(report.milliseconds),
        packages: report.packages.len(),
        commands: report.commands(),
        error: report.error.clone(),
    };
    put(&mut batch, Table::Results, authority, &last);
    store.commit(batch).await
}

/// How the last session ended.
pub(super) fn last(store: &Store, authority: &Authority) -> Result<Option<Last>, StoreError> {
    store.get_json(Table::Results, &key(authority))
}

/// Turns every session that still runs on paper into one that has failed.
pub(super) async fn recover(store: &Store, now: u64) -> Result<Vec<Last>, StoreError> {
    let mut batch = Batch::new();
    let mut interrupted = Vec::new();
    for (key, record) in store.scan_json::<Record>(Table::Sessions, "")? {
        let Record {
            authority,
            reason,
            started,
            phase,
            packages,
        } = record;
        let how_far = match phase {
            Phase::Opening => "before the server had answered Package#1",
            Phase::Open => "before the server had said END",
        };
        let ago = now.saturating_sub(started);
        let error = format!(
            "the device stopped {how_far}, at most {ago} s after the start; commands that were answered are done, \
             and what was to be reported is still pending"
        );
        let last = Last {
            authority: authority.clone(),
            reason,
            started,
            milliseconds: None,
            packages,
            commands: 0,
            error: Some(error),
        };
        batch.delete(Table::Sessions, key);
        put(&mut batch, Table::Results, &authority, &last);
        interrupted.push(last);
    }
    store.commit(batch).await?;
    Ok(interrupted)
}

fn put_running(batch: &mut Batch, report: &Report, phase: Phase) {
    let record = Record {
        authority: report.authority.clone(),
        reason: report.reason,
        started: report.started,
        phase,
        packages: report.packages.len(),
    };
    put(batch, Table::Sessions, &report.authority, &record);
}

fn put<T: Serialize>(batch: &mut Batch, table: Table, authority: &Authority, value: &T) {
    // Plain structs of texts and numbers always have a JSON form.
    if let Ok(json) = serde_json::to_vec(value) {
        batch.put(table, key(authority), json);
    }
}

fn key(authority: &Authority) -> String {
    tables::key(&[authority.as_str()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_session_that_a_restart_cut_off_has_failed() {
        let store = Store::in_memory().expect("a store");
        let (north, south) = (Authority::server("north"), Authority::server("south"));
        let cut = Report::new(&north, Reason::BootstrapComplete, 100);
        begin(&store, &cut).await.expect("a commit");
        let mut ended = Report::new(&south, Reason::ClientInitiated, 100);
        begin(&store, &ended).await.expect("a commit");
        ended.end(std::time::Duration::from_millis(7), None);
        end(&store, &south, &ended).await.expect("a commit");

        let interrupted = recover(&store, 160).await.expect("a commit");
        let [only] = interrupted.as_slice() else {
            panic!("{interrupted:?}")
        };
        assert_eq!(
            (&only.authority, only.reason),
            (&north, Reason::BootstrapComplete)
        );
        let error = only.error.as_deref().expect("a reason");
        assert!(
            error.contains("before the server had answered Package#1"),
            "{error}"
        );
        assert_eq!(last(&store, &north).expect("a row").as_ref(), Some(only));
        assert_eq!(
            last(&store, &south)
                .expect("a row")
                .expect("a result")
                .error,
            None
        );
        assert!(
            recover(&store, 170).await.expect("a commit").is_empty(),
            "once is enough"
        );
    }
}
