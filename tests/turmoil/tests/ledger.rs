//! The ledger of both rigs finds what it is for.

use highwater_rig::ledger::Ledger;

fn log(values: &[&str]) -> Vec<(i64, String)> {
    values.iter().enumerate().map(|(at, value)| (at as i64, value.to_string())).collect()
}

#[test]
fn what_was_acknowledged_is_there_once_and_in_order() {
    let mut ledger = Ledger::default();
    ledger.acknowledge(0, 0, "a-0");
    ledger.acknowledge(0, 1, "a-1");
    ledger.settle(0, &log(&["a-0", "a-1"]), false);
    for wrong in [&["a-0"][..], &["a-0", "a-1", "a-1"], &["a-1", "a-0"], &["b-0", "a-0", "a-1"]] {
        let settled = std::panic::catch_unwind(|| ledger.settle(0, &log(wrong), true));
        assert!(settled.is_err(), "{wrong:?}");
    }
}
