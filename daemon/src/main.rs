//! plexusd
fn main() {}
