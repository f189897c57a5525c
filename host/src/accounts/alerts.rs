//! Generic alerts that wait for an authority's next package: queued in the transaction that is their reason,
//! sent and removed by `session`.

use crate::authority::Authority;
use crate::plugins::AlertRequest;
use crate::store::{StoreError, Table, Transaction, tables};

/// Queues an alert for `to`, behind those that wait already. Table [`Table::Alerts`], key
/// `<authority>\0<16 hexadecimal digits>`, value [`AlertRequest`] in JSON.
pub fn queue_alert(
    tx: &Transaction,
    to: &Authority,
    alert: &AlertRequest,
) -> Result<(), StoreError> {
    let waiting = tx.scan(Table::Alerts, &tables::prefix(&[to.as_str()]))?;
    let last = waiting.last().and_then(|(key, _)| tables::parts(key).pop());
    let last = last.and_then(|number| u64::from_str_radix(&number, 16).ok());
    let next = last.map_or(0, |number| number.saturating_add(1));
    let key = tables::key(&[to.as_str(), &format!("{next:016x}")]);
    tx.put_json(Table::Alerts, &key, alert)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[test]
    fn alerts_stay_in_order_and_with_their_authority() {
        let tx = Store::in_memory().unwrap().begin();
        let (one, other) = (Authority::server("one"), Authority::server("one more"));
        let alert = |number: usize| AlertRequest {
            alert_type: format!("urn:{number}"),
            source: None,
            mark: None,
            data: None,
        };
        for number in 0..20 {
            let to = if number % 2 == 0 { &one } else { &other };
            queue_alert(&tx, to, &alert(number)).unwrap();
        }
        for (to, first) in [(one, 0), (other, 1)] {
            let prefix = tables::prefix(&[to.as_str()]);
            let rows = tx
                .scan_json::<AlertRequest>(Table::Alerts, &prefix)
                .unwrap();
            let queued: Vec<_> = rows.into_iter().map(|(_, alert)| alert).collect();
            assert_eq!(
                queued,
                (first..20).step_by(2).map(alert).collect::<Vec<_>>()
            );
        }
    }
}
