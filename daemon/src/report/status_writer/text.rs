//! The text of a network-status while its write waits.

use std::fmt;

use futures_util::future::BoxFuture;

/// Up to this many bytes are kept while the write waits.
const KEPT: usize = 4 << 10;

/// The text, and a way to render it again: a write can wait for days, and the texts of all pods
/// would have 256 KiB each.
pub(crate) struct StatusText {
    text: Option<String>,
    render: RenderStatus,
}

/// Renders the text again. Returns `None` if the sandbox has another status by now, or its record
/// cannot be read.
pub(crate) type RenderStatus = Box<dyn Fn() -> BoxFuture<'static, Option<String>> + Send + Sync>;

impl StatusText {
    pub(crate) fn new(text: String, render: RenderStatus) -> Self {
        Self {
            text: Some(text),
            render,
        }
    }

    /// The text, rendered again if it was released. See [`RenderStatus`] about `None`.
    pub(super) async fn get(&mut self) -> Option<&str> {
        if self.text.is_none() {
            self.text = (self.render)().await;
        }
        self.text.as_deref()
    }

    /// Frees the memory of a large text.
    pub(super) fn release(&mut self) {
        self.text.take_if(|text| text.len() > KEPT);
    }
}

impl fmt::Debug for StatusText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatusText")
            .field("text", &self.text)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    #[tokio::test]
    async fn a_large_text_is_rendered_again_after_its_release() {
        for (size, expected) in [(KEPT, "x"), (KEPT + 1, "again")] {
            let again = Some("again".to_owned());
            let render = move || -> BoxFuture<'static, _> { Box::pin(ready(again.clone())) };
            let mut text = StatusText::new("x".repeat(size), Box::new(render));
            assert!(text.get().await.is_some_and(|text| text.len() == size));
            text.release();
            let text = text.get().await.expect("a text");
            assert!(text.starts_with(expected), "{size}");
        }
    }
}
