use std::collections::HashMap;

use tokio_util::sync::CancellationToken;

use crate::{
    outbox::Outbox,
    proto::{
        common::{Outcome, outcome::Kind},
        registry::{Assignment, AttemptOutcome, AttemptRef, CancelAttempt},
    },
};

/// Every attempt that the agent holds: from its assignment until its outcome is acknowledged.
#[derive(Default)]
pub(crate) struct Book {
    running: HashMap<AttemptRef, Running>,
    pub outbox: Outbox,
    runs: u64,
}

struct Running {
    /// An attempt that was lost before it was acknowledged may come again under the same number, while its first handler still
    /// stops. This tells the two apart.
    run: u64,
    cancel: CancellationToken,
    reason: String,
}

impl Book {
    /// None if the attempt is held already.
    pub fn begin(&mut self, assignment: &Assignment) -> Option<(u64, CancellationToken)> {
        let key = key(&assignment.task_id, assignment.attempt);
        if self.running.contains_key(&key) || self.outbox.iter().any(|outcome| key == *outcome) {
            return None;
        }
        self.runs += 1;
        let cancel = CancellationToken::new();
        let running = Running { run: self.runs, cancel: cancel.clone(), reason: String::new() };
        self.running.insert(key, running);
        Some((self.runs, cancel))
    }

    pub fn cancel(&mut self, cancel: CancelAttempt) {
        if let Some(running) = self.running.get_mut(&key(&cancel.task_id, cancel.attempt)) {
            running.reason = cancel.reason;
            running.cancel.cancel();
        }
    }

    /// The outcome is to be sent, unless its run was lost meanwhile.
    pub fn finish(&mut self, run: u64, mut answer: AttemptOutcome) {
        let key = key(&answer.task_id, answer.attempt);
        if self.running.get(&key).is_none_or(|held| held.run != run) {
            return;
        }
        let held = self.running.remove(&key);
        if let (Some(held), Some(Outcome { kind: Some(Kind::Canceled(canceled)) })) = (held, &mut answer.outcome) {
            canceled.reason = held.reason;
        }
        self.outbox.add(answer);
    }

    pub fn in_flight(&self) -> Vec<AttemptRef> {
        let answered = self.outbox.iter().map(|held| key(&held.task_id, held.attempt));
        self.running.keys().cloned().chain(answered).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.running.is_empty() && self.outbox.is_empty()
    }

    /// These are no longer ours: their handlers are stopped, their outcomes are not sent.
    pub fn lose(&mut self, lost: &[AttemptRef]) {
        for key in lost {
            if let Some(running) = self.running.remove(key) {
                running.cancel.cancel();
            }
            self.outbox.forget(key);
        }
    }

    pub fn lose_all(&mut self) {
        self.lose(&self.in_flight());
    }
}

fn key(task_id: &str, attempt: u32) -> AttemptRef {
    AttemptRef { task_id: task_id.into(), attempt }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::common::{Canceled, Completed};

    fn assignment(task_id: &str, attempt: u32) -> Assignment {
        Assignment { task_id: task_id.into(), attempt, ..Default::default() }
    }

    fn answer(task_id: &str, attempt: u32, kind: Kind) -> AttemptOutcome {
        AttemptOutcome {
            task_id: task_id.into(),
            attempt,
            outcome: Some(Outcome { kind: Some(kind) }),
            ..Default::default()
        }
    }

    fn completed(task_id: &str, attempt: u32) -> AttemptOutcome {
        answer(task_id, attempt, Kind::Completed(Completed::default()))
    }

    #[test]
    fn holds_an_attempt_until_its_outcome_is_acknowledged() {
        let mut book = Book::default();
        let (run, _) = book.begin(&assignment("a", 1)).unwrap();
        assert!(book.begin(&assignment("a", 1)).is_none(), "it runs");
        assert!(book.begin(&assignment("a", 2)).is_some(), "another attempt is another thing");
        book.finish(run, completed("a", 1));
        assert!(book.begin(&assignment("a", 1)).is_none(), "its outcome may be recorded already");
        let mut in_flight = book.in_flight();
        in_flight.sort_by_key(|held| held.attempt);
        assert_eq!(in_flight, [key("a", 1), key("a", 2)]);
        book.outbox.take(2);
        book.outbox.acknowledge(2);
        assert_eq!(book.in_flight(), [key("a", 2)]);
    }

    #[test]
    fn answers_a_cancel_in_the_words_of_who_asked() {
        let mut book = Book::default();
        let (run, cancel) = book.begin(&assignment("a", 1)).unwrap();
        book.cancel(CancelAttempt { task_id: "a".into(), attempt: 1, reason: "enough".into(), ..Default::default() });
        assert!(cancel.is_cancelled());
        book.finish(run, answer("a", 1, Kind::Canceled(Canceled::default())));
        let reason = "enough".into();
        assert_eq!(book.outbox.take(2), [answer("a", 1, Kind::Canceled(Canceled { reason }))]);
    }

    #[test]
    fn what_is_lost_is_stopped_and_its_outcome_ignored_even_if_it_comes_again() {
        let mut book = Book::default();
        let (first, stop_first) = book.begin(&assignment("a", 1)).unwrap();
        let (other, stop_other) = book.begin(&assignment("b", 1)).unwrap();
        book.lose(&[key("a", 1)]);
        assert!(stop_first.is_cancelled() && !stop_other.is_cancelled());

        let (second, _) = book.begin(&assignment("a", 1)).unwrap();
        book.finish(first, answer("a", 1, Kind::Canceled(Canceled::default())));
        assert!(!book.outbox.has_unsent());
        book.finish(second, completed("a", 1));
        book.finish(other, completed("b", 1));
        assert_eq!(book.outbox.take(2), [completed("a", 1), completed("b", 1)]);

        book.lose_all();
        assert!(book.is_empty());
    }
}
