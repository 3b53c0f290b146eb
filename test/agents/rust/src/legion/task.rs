use std::sync::Arc;

use prost::bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::Sender;
use tokio_util::sync::CancellationToken;

use crate::{
    Failure,
    attempt::News,
    proto::registry::{Assignment, AttemptProgress},
};

/// What a handler is given.
pub struct Task {
    pub(crate) assignment: Arc<Assignment>,
    pub(crate) cancel: CancellationToken,
    pub(crate) news: Sender<News>,
}

impl Task {
    pub fn assignment(&self) -> &Assignment {
        &self.assignment
    }

    /// The input as it came, a JSON object.
    pub fn data(&self) -> Bytes {
        match &self.assignment.task_data {
            Some(payload) if !payload.data.is_empty() => payload.data.clone(),
            _ => Bytes::from_static(b"{}"),
        }
    }

    /// The input as a type of one's own. Input that does not fit is the caller's fault, and will not get better by trying again.
    pub fn input<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.data()).map_err(|error| Failure {
            code: "INVALID_INPUT".into(),
            message: error.to_string(),
            caller_fault: true,
            ..Default::default()
        })
    }

    /// Tells watchers how far the work is. Dropped while more waits to be sent than the connection takes.
    pub fn progress(&self, fraction: f64, message: impl Into<String>) {
        let progress = AttemptProgress {
            task_id: self.assignment.task_id.clone(),
            attempt: self.assignment.attempt,
            fraction,
            message: message.into(),
            ..Default::default()
        };
        let _ = self.news.try_send(News::Progress(progress));
    }

    /// Whether the attempt is to stop: somebody asked for that, its time is up, or it was given to another agent.
    pub fn is_canceled(&self) -> bool {
        self.cancel.is_cancelled()
    }
}
