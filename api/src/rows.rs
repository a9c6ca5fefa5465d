//! Tests name the conformance rows that they cover, as data.

/// Names the rows of `docs/conformance.md` that the enclosing test covers.
///
/// The page is generated from these calls, so a row is listed only with a test that carries it.
#[macro_export]
macro_rules! rows {
    ($($id:literal),+ $(,)?) => {
        const _: &[&str] = &[$($id),+];
    };
}
