use std::sync::Arc;

use tonic::Status;

use crate::proto::registry::{Assignment, OutcomeRejection, Welcome};

/// What an agent tells whoever watches it, for logs and metrics.
#[non_exhaustive]
pub enum Notice<'a> {
    Connected(&'a Welcome),
    /// A handler begins.
    Begin(&'a Assignment),
    /// A handler has really ended.
    End(&'a Assignment, How),
    Rejected(&'a OutcomeRejection),
    Draining,
    /// The stream could not be had or broke; another try follows.
    Broken(&'a str, &'a Status),
}

/// How a handler ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum How {
    Completed,
    Failed,
    /// It was stopped, on request or for its execution timeout.
    Canceled,
}

pub(crate) type Observer = Arc<dyn Fn(Notice<'_>) + Send + Sync>;
