//! Comparison of keys as in Go's decoder.

/// Whether Go's decoder maps both keys to the same field of a struct. Letters match in any case,
/// and the two other characters that Unicode folds to an ASCII letter match that letter: `ſ`
/// (U+017F) and the Kelvin sign (U+212A). At least one of the keys must be ASCII.
pub fn keys_match(a: &str, b: &str) -> bool {
    a.chars().map(fold).eq(b.chars().map(fold))
}

/// The form of a key that all matching keys have in common.
pub fn fold_key(key: &str) -> String {
    key.chars().map(fold).collect()
}

fn fold(c: char) -> char {
    match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_match_as_in_go() {
        for (key, matches) in [
            ("masks", true),
            ("MASKS", true),
            ("mA\u{17f}Ks", true),
            ("mas\u{212a}\u{17f}", true),
            ("mask", false),
            ("masks ", false),
            ("m\u{e4}sks", false),
            ("ma\u{df}ks", false),
        ] {
            assert_eq!(keys_match(key, "masks"), matches, "{key}");
            assert_eq!(fold_key(key) == "masks", matches, "{key}");
        }
        // Dotted and dotless i fold to themselves.
        assert!(!keys_match("\u{131}ps", "ips") && !keys_match("\u{130}ps", "ips"));
    }
}
