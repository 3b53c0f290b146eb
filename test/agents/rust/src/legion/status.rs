//! What the mesh says with an error.

use std::error::Error;

use prost::Message;
use tonic::{Code, Status};

use crate::proto::rpc;

/// The stable word of the `google.rpc.ErrorInfo` that goes with an error of the mesh, such as `SESSION_FENCED`.
pub fn reason(status: &Status) -> Option<String> {
    let details = rpc::Status::decode(status.details()).ok()?.details;
    let info = details.iter().find(|detail| detail.type_url.ends_with("/google.rpc.ErrorInfo"))?;
    Some(rpc::ErrorInfo::decode(info.value.as_slice()).ok()?.reason)
}

/// Nobody answered, or who did asked to be tried again. What happens to a connection on the way is `UNKNOWN`, `INTERNAL` or
/// `CANCELLED` to tonic; such a status has a source, and one that was received has none.
pub fn is_unavailable(status: &Status) -> bool {
    status.code() == Code::Unavailable || status.source().is_some()
}

/// A hello that is wrong stays wrong; and where a newer process uses our id, coming back would fence that one.
pub(crate) fn is_final(status: &Status) -> bool {
    status.code() == Code::InvalidArgument || reason(status).as_deref() == Some("SESSION_FENCED")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_reason(code: Code, reason: &str) -> Status {
        let info = rpc::ErrorInfo { reason: reason.into(), ..Default::default() };
        let detail = prost_types::Any {
            type_url: "type.googleapis.com/google.rpc.ErrorInfo".into(),
            value: info.encode_to_vec(),
        };
        let details = rpc::Status { details: vec![prost_types::Any::default(), detail], ..Default::default() };
        Status::with_details(code, "", details.encode_to_vec().into())
    }

    #[test]
    fn tells_a_lost_connection_from_an_answer() {
        let reset = std::io::Error::other("reset");
        assert!(is_unavailable(&Status::from_error(reset.into())));
        assert!(is_unavailable(&Status::unavailable("")));
        assert!(!is_unavailable(&Status::unknown("said by the mesh")));
    }

    #[test]
    fn tells_what_another_try_would_not_mend() {
        assert!(is_final(&with_reason(Code::Aborted, "SESSION_FENCED")));
        assert!(is_final(&Status::invalid_argument("")));
        assert!(!is_final(&with_reason(Code::Aborted, "SESSION_EXPIRED")));
        assert!(!is_final(&Status::aborted("no details")));
        let broken = Status::with_details(Code::Aborted, "", b"\xff"[..].into());
        assert_eq!(reason(&broken), None);
    }
}
