//! What `ebbtide nat` says behind which kind.

use super::lab::{alone, is_possible, run};

#[test]
fn the_program_names_the_kind_of_nat_that_it_is_behind() {
    let _turn = alone();
    if !is_possible() {
        return;
    }
    let expected = [
        ("fw", "\"nat\":\"none\""),
        ("port", "\"nat\":\"endpoint-independent\""),
        ("linux", "\"nat\":\"endpoint-independent\""),
        ("sym", "\"nat\":\"endpoint-dependent\""),
    ];
    for (kind, said) in expected {
        let report = run([kind, "none"], "report.sh", &[], &[]);
        eprintln!("{kind}: {}", report.trim());
        assert!(report.contains(said), "{kind}: {report}");
    }
}
