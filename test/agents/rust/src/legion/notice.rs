use std::sync::Arc;

use tonic::Status;

use crate::proto::{
    common::outcome::Kind,
    registry::{Assignment, OutcomeRejection, Welcome},
};

/// What an agent tells whoever watches it, for logs and metrics.
#[non_exhaustive]
pub enum Notice<'a> {
    Connected(&'a Welcome),
    /// A handler begins.
    Begin(&'a Assignment),
    /// A handler has really ended.
    End(&'a Assignment, &'a Kind),
    Rejected(&'a OutcomeRejection),
    Draining,
    /// The stream could not be had or broke; another try follows.
    Broken(&'a str, &'a Status),
}

pub(crate) type Observer = Arc<dyn Fn(Notice<'_>) + Send + Sync>;
