//! Generated from the contracts by `build.rs`.

#![allow(clippy::all)]

include!(concat!(env!("OUT_DIR"), "/protos.rs"));

pub use google::rpc;
pub use legion::{common::v1 as common, dispatcher::v1 as dispatcher, registry::v1 as registry};
