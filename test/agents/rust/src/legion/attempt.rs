use std::{future, sync::Arc, time::Duration};

use prost::bytes::Bytes;
use tokio::{
    sync::mpsc::Sender,
    task::{JoinError, JoinHandle},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Handler, HandlerResult, How, Notice, Task,
    notice::Observer,
    proto::{
        common::{Canceled, Completed, ExecutionStats, Failed, Outcome, Payload, outcome::Kind},
        registry::{Assignment, AttemptOutcome, AttemptProgress},
    },
};

/// What attempts tell their session.
pub(crate) enum News {
    Progress(AttemptProgress),
    Outcome { run: u64, answer: AttemptOutcome },
}

/// One attempt, from its assignment to its outcome, whatever becomes of the stream it came by.
pub(crate) struct Attempt {
    pub run: u64,
    pub assignment: Arc<Assignment>,
    pub cancel: CancellationToken,
    pub max_result_bytes: usize,
    pub news: Sender<News>,
    pub observer: Observer,
}

impl Attempt {
    pub async fn execute(self, handler: Option<Handler>) {
        let Self { run, assignment, .. } = &self;
        (self.observer)(Notice::Begin(assignment));
        let began = Instant::now();
        let (how, kind) = match handler {
            Some(handler) => self.run(&handler).await,
            None => (How::Failed, failed("NOT_IMPLEMENTED", assignment.capability.clone(), false)),
        };
        let stats = ExecutionStats { duration: began.elapsed().try_into().ok(), ..Default::default() };
        (self.observer)(Notice::End(assignment, how));
        let answer = AttemptOutcome {
            task_id: assignment.task_id.clone(),
            attempt: assignment.attempt,
            outcome: Some(Outcome { kind: Some(kind) }),
            stats: Some(stats),
            ..Default::default()
        };
        // Nobody listens once the agent is over.
        let _ = self.news.send(News::Outcome { run: *run, answer }).await;
    }

    async fn run(&self, handler: &Handler) -> (How, Kind) {
        let mut work = handler.start(Task {
            assignment: self.assignment.clone(),
            cancel: self.cancel.clone(),
            news: self.news.clone(),
        });
        tokio::select! {
            result = &mut work => match result {
                Ok(Ok(result)) => self.completed(result),
                Ok(Err(failure)) => (How::Failed, Kind::Failed(failure.into())),
                Err(error) => (How::Failed, panicked(error)),
            },
            () = self.cancel.cancelled() => {
                stop(work).await;
                (How::Canceled, Kind::Canceled(Canceled::default()))
            }
            limit = self.timeout() => {
                self.cancel.cancel();
                stop(work).await;
                (How::Canceled, failed("EXECUTION_TIMEOUT", format!("It ran for longer than {limit:?}."), true))
            }
        }
    }

    /// The mesh looks at the clock as well, but cannot tell us while the stream is broken.
    async fn timeout(&self) -> Duration {
        match self.assignment.execution_timeout.map(Duration::try_from) {
            Some(Ok(limit)) => {
                sleep(limit).await;
                limit
            }
            _ => future::pending().await,
        }
    }

    /// A frame that is too large would break the stream, again and again.
    fn completed(&self, data: Bytes) -> (How, Kind) {
        let max = self.max_result_bytes;
        if data.len() > max {
            let message = format!("The result has {} bytes; at most {max} are kept.", data.len());
            return (How::Failed, failed("RESULT_TOO_LARGE", message, false));
        }
        let result = Payload { data, ..Default::default() };
        (How::Completed, Kind::Completed(Completed { result: Some(result) }))
    }
}

/// Returns when the handler has really ended. One that blocks ends by itself.
async fn stop(work: JoinHandle<HandlerResult>) {
    work.abort();
    let _ = work.await;
}

fn panicked(error: JoinError) -> Kind {
    let message = error.try_into_panic().map_or_else(
        |error| error.to_string(),
        |panic| match panic.downcast::<String>() {
            Ok(message) => *message,
            Err(panic) => panic.downcast_ref::<&str>().copied().unwrap_or("It panicked.").into(),
        },
    );
    failed("panic", message, true)
}

fn failed(code: &str, message: String, retryable: bool) -> Kind {
    Kind::Failed(Failed { code: code.into(), message, retryable, ..Default::default() })
}
