//! Transactions: by example, then against a plain model.

use super::*;
use crate::store::tests::Random;

fn store() -> Store {
    Store::in_memory().unwrap()
}

fn text(tx: &Transaction, key: &str) -> Option<String> {
    tx.get(Table::Meta, key)
        .unwrap()
        .map(|value| String::from_utf8(value).unwrap())
}

#[tokio::test]
async fn writes_are_seen_at_once_through_it_and_elsewhere_after_the_commit() {
    let store = store();
    let (tx, other) = (store.begin(), store.begin());
    assert!(tx.is_empty());
    tx.put(Table::Meta, "a", b"1".to_vec());
    assert_eq!(
        (text(&tx, "a").as_deref(), text(&other, "a")),
        (Some("1"), None)
    );
    assert!(!tx.is_empty());
    tx.commit().await.unwrap();
    assert!(tx.is_empty());
    // What is committed meanwhile is seen, except where this one wrote.
    assert_eq!(text(&other, "a").as_deref(), Some("1"));
    other.put(Table::Meta, "a", b"2".to_vec());
    tx.put(Table::Meta, "a", b"3".to_vec());
    tx.commit().await.unwrap();
    assert_eq!(text(&other, "a").as_deref(), Some("2"));
}

#[tokio::test]
async fn dropped_without_commit_it_leaves_no_trace() {
    let store = store();
    let tx = store.begin();
    tx.put(Table::Meta, "a", b"1".to_vec());
    drop(tx);
    assert_eq!(store.scan(Table::Meta, "").unwrap(), []);
}

#[test]
fn a_failed_call_is_undone_and_the_rest_stays() {
    let tx = store().begin();
    tx.put(Table::Meta, "a", b"1".to_vec());
    let call = tx.mark();
    tx.put(Table::Meta, "a", b"2".to_vec());
    tx.put(Table::Meta, "b", b"2".to_vec());
    let inner = tx.mark();
    tx.delete(Table::Meta, "a");
    tx.roll_back_to(inner);
    assert_eq!(text(&tx, "a").as_deref(), Some("2"));
    tx.roll_back_to(call);
    assert_eq!(
        (text(&tx, "a").as_deref(), text(&tx, "b")),
        (Some("1"), None)
    );
}

#[tokio::test]
async fn a_mark_from_before_a_commit_undoes_what_came_after_it() {
    let tx = store().begin();
    tx.put(Table::Meta, "a", b"0".to_vec());
    let mark = tx.mark();
    tx.put(Table::Meta, "a", b"1".to_vec());
    tx.commit().await.unwrap();
    tx.put(Table::Meta, "a", b"2".to_vec());
    tx.roll_back_to(mark);
    assert!(tx.is_empty());
    assert_eq!(text(&tx, "a").as_deref(), Some("1"));
}

#[test]
fn writing_a_key_again_and_again_does_not_pile_up_its_old_values() {
    let tx = store().begin();
    for call in 0..3 {
        let _mark = tx.mark();
        for _ in 0..1_000 {
            tx.put(Table::Values, "a", vec![0; 1_000]);
        }
        assert_eq!(tx.pending.borrow().undo.len(), call + 1);
    }
}

#[test]
fn json_is_read_as_it_was_written_and_an_error_does_not_quote_it() {
    let tx = store().begin();
    tx.put_json(Table::Meta, "a", &vec![1, 2]).unwrap();
    assert_eq!(
        tx.get_json::<Vec<u8>>(Table::Meta, "a").unwrap(),
        Some(vec![1, 2])
    );
    assert_eq!(tx.get_json::<Vec<u8>>(Table::Meta, "b").unwrap(), None);
    assert_eq!(
        tx.scan_json(Table::Meta, "").unwrap(),
        [("a".to_owned(), vec![1, 2])]
    );
    tx.put(Table::Meta, "a", br#""secret""#.to_vec());
    let error = tx
        .get_json::<Vec<u8>>(Table::Meta, "a")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("an entry of meta") && !error.contains("secret"),
        "{error}"
    );
}

#[tokio::test]
async fn it_behaves_like_a_map_with_copies_for_marks() {
    let mut random = Random(0x7A);
    let store = store();
    let mut committed: BTreeMap<(Table, String), Vec<u8>> = BTreeMap::new();
    for _ in 0..300 {
        let tx = store.begin();
        let mut model = committed.clone();
        let mut marks = Vec::new();
        for _ in 0..30 {
            let (table, key) = (random.table(), random.key());
            match random.below(9) {
                0..3 => {
                    let value = vec![random.below(256) as u8];
                    tx.put(table, &key, value.clone());
                    model.insert((table, key), value);
                }
                3 => {
                    tx.delete(table, &key);
                    model.remove(&(table, key));
                }
                4 => {
                    tx.delete_prefix(table, &key).unwrap();
                    model.retain(|(t, k), _| *t != table || !k.starts_with(&key));
                }
                5 => marks.push((tx.mark(), model.clone())),
                6 => {
                    if let Some((mark, before)) = marks.pop() {
                        tx.roll_back_to(mark);
                        model = before;
                    }
                }
                7 => assert_eq!(
                    tx.get(table, &key).unwrap(),
                    model.get(&(table, key)).cloned()
                ),
                _ => {
                    let expected = model
                        .iter()
                        .filter(|((t, k), _)| *t == table && k.starts_with(&key))
                        .map(|((_, k), value)| (k.clone(), value.clone()));
                    assert_eq!(tx.scan(table, &key).unwrap(), expected.collect::<Rows>());
                }
            }
        }
        if random.below(3) > 0 {
            tx.commit().await.unwrap();
            committed = model;
        }
    }
    assert!(committed.len() > 10);
}
