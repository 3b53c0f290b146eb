package legion;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import legion.registry.v1.AttemptOutcome;

/** Outcomes from their making until the mesh has dealt with them. Not thread-safe. */
final class Outbox {
    private static final int MAX_OUTCOMES = 1_000;
    // A frame may have 32 MiB; small ones let heartbeats pass between them.
    private static final int MAX_BYTES = 1024 * 1024;

    private record Sent(long seq, AttemptOutcome outcome) {}

    private final Deque<AttemptOutcome> waiting = new ArrayDeque<>();
    private final Deque<Sent> sent = new ArrayDeque<>();

    void add(AttemptOutcome outcome) {
        waiting.add(outcome);
    }

    /** The outcomes for frame {@code seq}: at most 1,000 and about 1 MiB, at least one if there is one. */
    List<AttemptOutcome> take(long seq) {
        var outcomes = new ArrayList<AttemptOutcome>();
        for (int bytes = 0; !waiting.isEmpty() && outcomes.size() < MAX_OUTCOMES && bytes < MAX_BYTES; ) {
            AttemptOutcome outcome = waiting.remove();
            bytes += outcome.getSerializedSize();
            outcomes.add(outcome);
            sent.add(new Sent(seq, outcome));
        }
        return outcomes;
    }

    /** All frames up to {@code seq} are dealt with; returns the attempts whose outcomes were in them. */
    List<AttemptId> acknowledge(long seq) {
        var done = new ArrayList<AttemptId>();
        while (!sent.isEmpty() && sent.peek().seq <= seq) {
            done.add(AttemptId.of(sent.remove().outcome));
        }
        return done;
    }

    /** A new stream begins, with frame numbers of its own: what is not acknowledged is sent again, in the same order. */
    void rewind() {
        while (!sent.isEmpty()) {
            waiting.push(sent.removeLast().outcome);
        }
    }

    void forget(AttemptId id) {
        waiting.removeIf(outcome -> AttemptId.of(outcome).equals(id));
        sent.removeIf(entry -> AttemptId.of(entry.outcome).equals(id));
    }
}
