//! An agent of the mesh: keeps a session through broken streams, runs what it is given, sees to it that every outcome
//! arrives. [`Agent`] is where to begin.

mod agent;
mod attempt;
mod backoff;
mod book;
mod connection;
mod failure;
mod handler;
mod notice;
mod outbox;
pub mod proto;
mod session;
pub mod status;
mod stream;
mod task;

pub use agent::Agent;
pub use failure::Failure;
pub use handler::{Handler, HandlerResult, json};
pub use notice::{How, Notice};
pub use task::Task;
