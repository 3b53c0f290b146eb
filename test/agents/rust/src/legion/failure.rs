use std::{any::type_name, error::Error, time::Duration};

use crate::proto::common::Failed;

/// Why a task failed. Any error becomes one by `?`: retryable, since nobody said that trying again would not help, with the name
/// of its type as the code.
#[derive(Debug, Default, PartialEq)]
pub struct Failure {
    /// A stable word for programs.
    pub code: String,
    /// A sentence for people.
    pub message: String,
    /// Whether trying again may help.
    pub retryable: bool,
    /// Try again no earlier than after this.
    pub retry_delay: Option<Duration>,
    /// The caller's doing, and no mark against the agent.
    pub caller_fault: bool,
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let path = type_name::<E>().split('<').next().unwrap_or_default();
        Self {
            code: path.rsplit("::").next().unwrap_or_default().into(),
            message: error.to_string(),
            retryable: true,
            ..Default::default()
        }
    }
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self {
            code: failure.code,
            message: failure.message,
            retryable: failure.retryable,
            retry_delay: failure.retry_delay.and_then(|delay| delay.try_into().ok()),
            caller_fault: failure.caller_fault,
            ..Default::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_named_after_the_error_that_it_was() {
        let parse = || -> Result<u8, Failure> { Ok("300".parse()?) };
        let failure = parse().unwrap_err();
        assert_eq!((failure.code.as_str(), failure.retryable), ("ParseIntError", true));
        assert!(failure.message.contains("too large"));
    }
}
