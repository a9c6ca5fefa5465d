//! Conversion of results between the versions.
