//! The conformance rows that a test covers.

/// Names the rows of `docs/conformance.md` that the enclosing test covers. The page is generated
/// from these calls.
#[macro_export]
macro_rules! rows {
    ($($id:literal),+ $(,)?) => {
        const _: &[&str] = &[$($id),+];
    };
}
