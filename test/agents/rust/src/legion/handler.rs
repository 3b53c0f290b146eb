use std::sync::Arc;

use prost::bytes::Bytes;
use serde::Serialize;
use tokio::task::JoinHandle;

use crate::{Failure, Task};

/// The result as JSON bytes, or why there is none.
pub type HandlerResult = Result<Bytes, Failure>;

/// What does the tasks of a capability.
#[derive(Clone)]
pub struct Handler(Arc<dyn Fn(Task) -> JoinHandle<HandlerResult> + Send + Sync>);

impl Handler {
    /// For what mostly waits. When the attempt is to stop, its future is dropped where it awaits.
    pub fn new<F, Fut>(execute: F) -> Self
    where
        F: Fn(Task) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        Self(Arc::new(move |task| tokio::spawn(execute(task))))
    }

    /// For what computes or blocks, on a thread of its own: heartbeats go on meanwhile. It cannot be stopped from outside; it
    /// should look at [`Task::is_canceled`] now and then.
    pub fn blocking(execute: impl Fn(Task) -> HandlerResult + Send + Sync + 'static) -> Self {
        let execute = Arc::new(execute);
        Self(Arc::new(move |task| {
            let execute = execute.clone();
            tokio::task::spawn_blocking(move || execute(task))
        }))
    }

    pub(crate) fn start(&self, task: Task) -> JoinHandle<HandlerResult> {
        (self.0)(task)
    }
}

/// A result, as JSON.
pub fn json(value: &impl Serialize) -> HandlerResult {
    Ok(serde_json::to_vec(value)?.into())
}
