use std::collections::VecDeque;

use prost::Message;

use crate::proto::registry::{AttemptOutcome, AttemptRef};

pub(crate) const MAX_ITEMS: usize = 1_000;
const MAX_BYTES: usize = 1024 * 1024;

/// Outcomes from their making until the mesh has acknowledged them, in the order in which they were made.
#[derive(Default)]
pub(crate) struct Outbox {
    unsent: VecDeque<AttemptOutcome>,
    /// Each with the number of the frame that carried it on the present stream.
    sent: VecDeque<(u64, AttemptOutcome)>,
}

impl Outbox {
    pub fn add(&mut self, outcome: AttemptOutcome) {
        self.unsent.push_back(outcome);
    }

    pub fn iter(&self) -> impl Iterator<Item = &AttemptOutcome> {
        self.sent.iter().map(|(_, outcome)| outcome).chain(&self.unsent)
    }

    pub fn is_empty(&self) -> bool {
        self.unsent.is_empty() && self.sent.is_empty()
    }

    pub fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// The outcomes for frame `seq`: at most 1,000 and about 1 MiB, at least one if there is one.
    pub fn take(&mut self, seq: u64) -> Vec<AttemptOutcome> {
        let mut taken = Vec::new();
        let mut bytes = 0;
        while taken.len() < MAX_ITEMS && bytes < MAX_BYTES {
            let Some(outcome) = self.unsent.pop_front() else {
                break;
            };
            bytes += outcome.encoded_len();
            taken.push(outcome.clone());
            self.sent.push_back((seq, outcome));
        }
        taken
    }

    /// All frames up to `seq` are dealt with.
    pub fn acknowledge(&mut self, seq: u64) {
        while self.sent.front().is_some_and(|(sent, _)| *sent <= seq) {
            self.sent.pop_front();
        }
    }

    /// A new stream begins: what was not acknowledged on the old one is to be sent again.
    pub fn rewind(&mut self) {
        for (_, outcome) in self.sent.drain(..).rev() {
            self.unsent.push_front(outcome);
        }
    }

    pub fn forget(&mut self, lost: &AttemptRef) {
        self.unsent.retain(|outcome| lost != outcome);
        self.sent.retain(|(_, outcome)| lost != outcome);
    }
}

impl PartialEq<AttemptOutcome> for AttemptRef {
    fn eq(&self, other: &AttemptOutcome) -> bool {
        self.attempt == other.attempt && self.task_id == other.task_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::common::{Completed, Outcome, Payload, outcome::Kind};

    fn outcome(task_id: &str, bytes: usize) -> AttemptOutcome {
        let result = Payload { data: vec![b'x'; bytes].into(), ..Default::default() };
        let kind = Kind::Completed(Completed { result: Some(result) });
        AttemptOutcome {
            task_id: task_id.into(),
            attempt: 1,
            outcome: Some(Outcome { kind: Some(kind) }),
            ..Default::default()
        }
    }

    fn with(task_ids: &[&str]) -> Outbox {
        let mut outbox = Outbox::default();
        for task_id in task_ids {
            outbox.add(outcome(task_id, 0));
        }
        outbox
    }

    fn ids(outcomes: &[AttemptOutcome]) -> Vec<&str> {
        outcomes.iter().map(|outcome| outcome.task_id.as_str()).collect()
    }

    #[test]
    fn keeps_outcomes_until_their_frame_is_acknowledged() {
        let mut outbox = with(&["a"]);
        outbox.take(2);
        outbox.add(outcome("b", 0));
        outbox.take(5);
        outbox.acknowledge(4);
        assert_eq!(outbox.iter().map(|o| &o.task_id).collect::<Vec<_>>(), ["b"]);
        outbox.acknowledge(5);
        assert!(outbox.is_empty());
    }

    #[test]
    fn sends_again_in_the_same_order_after_a_break() {
        let mut outbox = with(&["a", "b"]);
        outbox.take(7);
        outbox.add(outcome("c", 0));
        outbox.rewind();
        // The numbers of the old stream mean nothing on the new one.
        outbox.acknowledge(7);
        assert_eq!(ids(&outbox.take(2)), ["a", "b", "c"]);
    }

    #[test]
    fn fills_a_frame_up_to_its_bounds() {
        let mut outbox = Outbox::default();
        for _ in 0..MAX_ITEMS + 1 {
            outbox.add(outcome("small", 0));
        }
        assert_eq!(outbox.take(2).len(), MAX_ITEMS);
        assert_eq!(outbox.take(3).len(), 1);
        for _ in 0..2 {
            outbox.add(outcome("large", 2 * MAX_BYTES));
        }
        assert_eq!(outbox.take(4).len(), 1);
        assert!(outbox.has_unsent());
    }

    #[test]
    fn forgets_what_is_lost_sent_or_not() {
        let mut outbox = with(&["a", "b"]);
        outbox.take(2);
        outbox.add(outcome("c", 0));
        for task_id in ["a", "c"] {
            outbox.forget(&AttemptRef { task_id: task_id.into(), attempt: 1 });
        }
        outbox.rewind();
        assert_eq!(ids(&outbox.take(2)), ["b"]);
    }
}
