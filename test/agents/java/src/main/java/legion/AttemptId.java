package legion;

import legion.registry.v1.Assignment;
import legion.registry.v1.AttemptOutcome;
import legion.registry.v1.AttemptRef;
import legion.registry.v1.CancelAttempt;
import legion.registry.v1.OutcomeRejection;

/** One try at one task. */
record AttemptId(String taskId, int attempt) {
    static AttemptId of(Assignment assignment) {
        return new AttemptId(assignment.getTaskId(), assignment.getAttempt());
    }

    static AttemptId of(AttemptOutcome outcome) {
        return new AttemptId(outcome.getTaskId(), outcome.getAttempt());
    }

    static AttemptId of(AttemptRef ref) {
        return new AttemptId(ref.getTaskId(), ref.getAttempt());
    }

    static AttemptId of(CancelAttempt cancel) {
        return new AttemptId(cancel.getTaskId(), cancel.getAttempt());
    }

    static AttemptId of(OutcomeRejection rejection) {
        return new AttemptId(rejection.getTaskId(), rejection.getAttempt());
    }

    AttemptRef toRef() {
        return AttemptRef.newBuilder().setTaskId(taskId).setAttempt(attempt).build();
    }
}
