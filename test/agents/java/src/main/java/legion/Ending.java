package legion;

import com.google.protobuf.ByteString;
import legion.common.v1.Outcome;
import legion.common.v1.Payload;

/** How an attempt came out. */
public sealed interface Ending {
    /** What the mesh is told. */
    Outcome toOutcome();

    /** What became of the handler: {@code completed}, {@code failed} or {@code canceled}. */
    String how();

    /** {@code json} is the result, as JSON text. */
    record Completed(ByteString json) implements Ending {
        @Override
        public Outcome toOutcome() {
            var result = Payload.newBuilder().setData(json);
            return Outcome.newBuilder()
                    .setCompleted(legion.common.v1.Completed.newBuilder().setResult(result))
                    .build();
        }

        @Override
        public String how() {
            return "completed";
        }
    }

    record Failed(String code, String message, boolean retryable) implements Ending {
        // As much as the mesh keeps; a longer one might not fit into a frame.
        private static final int MAX_MESSAGE = 16 * 1024;

        static Failed of(Throwable thrown) {
            String message = thrown.getMessage() == null ? thrown.toString() : thrown.getMessage();
            return thrown instanceof TaskFailure failure
                    ? new Failed(failure.code(), message, failure.retryable())
                    : new Failed(thrown.getClass().getSimpleName(), message, true);
        }

        @Override
        public Outcome toOutcome() {
            var failed = legion.common.v1.Failed.newBuilder()
                    .setCode(code)
                    .setMessage(message.substring(0, Math.min(message.length(), MAX_MESSAGE)))
                    .setRetryable(retryable);
            return Outcome.newBuilder().setFailed(failed).build();
        }

        @Override
        public String how() {
            return "failed";
        }
    }

    record Canceled(String reason) implements Ending {
        @Override
        public Outcome toOutcome() {
            return Outcome.newBuilder()
                    .setCanceled(legion.common.v1.Canceled.newBuilder().setReason(reason))
                    .build();
        }

        @Override
        public String how() {
            return "canceled";
        }
    }

    /** Stopped because it took too long. To the mesh that is a failure: only what a client asked for is canceled. */
    record TimedOut() implements Ending {
        @Override
        public Outcome toOutcome() {
            return new Failed("EXECUTION_TIMEOUT", "The execution timeout has passed.", true).toOutcome();
        }

        @Override
        public String how() {
            return "canceled";
        }
    }
}
