use super::*;

#[test]
fn the_right_to_look_at_the_tasks_of_others_is_seen() {
    for (status, may) in [
        (
            "CapPrm:\t0000000000000000\nCapEff:\t0000000000080000\n",
            true,
        ),
        ("CapEff:\t000001ffffffffff\n", true),
        (
            "CapPrm:\t000001ffffffffff\nCapEff:\t000001fffff7ffff\n",
            false,
        ),
        ("CapEff:\t0000000000000001\n", false),
        ("CapEff:\tgarbage\n", false),
        ("", false),
    ] {
        assert_eq!(
            Rights::read(status).has(Capability::SysPtrace),
            may,
            "{status:?}"
        );
    }
}
