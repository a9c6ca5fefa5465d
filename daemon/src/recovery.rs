//! What happens without a call: at start and periodically.

pub mod evidence;
