//! Paths to values in JSON.

use std::fmt;

/// A step from a value to a value inside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathStep {
    /// The value of a key of an object.
    Key(String),
    /// An item of a list, counted from 0.
    Item(usize),
}

impl From<&str> for PathStep {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<usize> for PathStep {
    fn from(index: usize) -> Self {
        Self::Item(index)
    }
}

/// The place of a value in an annotation: `element 2, key "portMappings", entry 1`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ValuePath(pub Vec<PathStep>);

impl ValuePath {
    /// The path of a value inside the value at this path.
    #[must_use]
    pub fn join(&self, step: impl Into<PathStep>) -> Self {
        let mut steps = self.0.clone();
        steps.push(step.into());
        Self(steps)
    }
}

impl fmt::Display for ValuePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, step) in self.0.iter().enumerate() {
            if depth > 0 {
                f.write_str(", ")?;
            }
            match step {
                PathStep::Key(key) => write!(f, "key {key:?}")?,
                PathStep::Item(index) if depth == 0 => write!(f, "element {}", index + 1)?,
                PathStep::Item(index) => write!(f, "entry {}", index + 1)?,
            }
        }
        Ok(())
    }
}
