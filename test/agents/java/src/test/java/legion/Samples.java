package legion;

import com.google.gson.JsonObject;
import com.google.protobuf.ByteString;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import legion.common.v1.Payload;
import legion.registry.v1.Assignment;
import legion.registry.v1.AttemptOutcome;

/** Assignments and outcomes for tests. */
final class Samples {
    static final Attempt.Listener NOBODY = new Attempt.Listener() {
        @Override
        public void begun(Attempt attempt) {}

        @Override
        public void progressed(Attempt attempt) {}

        @Override
        public void ended(Attempt attempt, Ending ending, Duration duration) {}
    };

    static final AgentOptions AGENT = new AgentOptions(List.of(), "agent-1", "agent", "1", 1, Map.of());

    private Samples() {}

    static Assignment assignment(String taskId) {
        return Assignment.newBuilder()
                .setTaskId(taskId)
                .setAttempt(1)
                .setTaskData(Payload.newBuilder().setData(ByteString.copyFromUtf8("{}")))
                .build();
    }

    static Attempt attempt(String taskId) {
        return new Attempt(assignment(taskId), (input, task) -> new JsonObject(), AGENT, NOBODY);
    }

    static AttemptOutcome outcome(String taskId, int bytes) {
        return AttemptOutcome.newBuilder()
                .setTaskId(taskId)
                .setAttempt(1)
                .setOutcome(new Ending.Completed(ByteString.copyFrom(new byte[bytes])).toOutcome())
                .build();
    }

    static AttemptId id(String taskId) {
        return new AttemptId(taskId, 1);
    }
}
