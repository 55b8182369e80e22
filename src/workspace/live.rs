//! What open pages of a workspace listen to: topics without spaces (`org:01j…`, `jobs`) that changed. Nothing is kept;
//! a page that missed one sees the truth when it loads.

use tokio::sync::broadcast;

/// Topics waiting for a slow listener; one that falls further behind is told to look at everything.
const WAITING: usize = 256;

/// A workspace's topics.
#[derive(Clone, Debug)]
pub struct Live(broadcast::Sender<String>);

impl Live {
    pub(super) fn new() -> Self {
        Self(broadcast::channel(WAITING).0)
    }

    /// Tells listeners that `topic` changed.
    pub fn publish(&self, topic: String) {
        // No listener is no error.
        let _ = self.0.send(topic);
    }

    pub fn listen(&self) -> broadcast::Receiver<String> {
        self.0.subscribe()
    }
}
