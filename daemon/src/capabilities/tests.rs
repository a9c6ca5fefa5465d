use super::*;

#[test]
fn a_capability_is_read_from_the_effective_set() {
    for (status, expected) in [
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
            CapabilitySet::parse(status).has(Capability::SysPtrace),
            expected,
            "{status:?}"
        );
    }
}
