//! Suggestions for a misspelled name.

use plexus_api::json::fold_key;

/// The known name that `name` is probably a misspelling of. Returns `None` if `name` is known, or if
/// no known name is similar.
pub(crate) fn suggest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = fold_key(name);
    // A third of the letters may be wrong, but not more than two.
    let allowed = (folded.chars().count() / 3).min(2);
    known
        .into_iter()
        .map(|known| {
            let distance = strsim::damerau_levenshtein(&folded, &fold_key(known));
            (distance, known)
        })
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| (1..=allowed).contains(distance))
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_similar_name_is_suggested_and_no_other() {
        let known = [
            "mtu",
            "vlan",
            "isGateway",
            "isDefaultGateway",
            "hairpinMode",
        ];
        for (name, expected) in [
            ("mut", Some("mtu")),
            ("vlans", Some("vlan")),
            ("ISGATWAY", Some("isGateway")),
            ("hairpinmod", Some("hairpinMode")),
            ("vlan", None),
            ("VLAN", None),
            ("ip", None),
            ("comment", None),
        ] {
            assert_eq!(suggest(name, known), expected, "{name}");
        }
    }
}
