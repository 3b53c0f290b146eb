package legion;

import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import legion.registry.v1.AttemptOutcome;
import legion.registry.v1.AttemptRef;

/** What the agent holds: every attempt from its assignment until its outcome is acknowledged. Not thread-safe. */
final class InFlight {
    private final Map<AttemptId, Attempt> held = new LinkedHashMap<>();
    private final Outbox outbox = new Outbox();

    boolean isEmpty() {
        return held.isEmpty();
    }

    /** False if it is held already: it was delivered twice, and must not run twice. */
    boolean hold(Attempt attempt) {
        return held.putIfAbsent(attempt.id(), attempt) == null;
    }

    /** Null if it is not held. */
    Attempt find(AttemptId id) {
        return held.get(id);
    }

    /** Whether it is this very attempt that is held, and not a later delivery of what was lost. */
    boolean holds(Attempt attempt) {
        return held.get(attempt.id()) == attempt;
    }

    /** False if the attempt was lost meanwhile: then nobody waits for the answer. */
    boolean answer(Attempt attempt, AttemptOutcome outcome) {
        if (!holds(attempt)) {
            return false;
        }
        outbox.add(outcome);
        return true;
    }

    /** The outcomes for frame {@code seq} of the present stream. */
    List<AttemptOutcome> take(long seq) {
        return outbox.take(seq);
    }

    /** The mesh has dealt with all outcomes in the frames of the present stream up to {@code seq}. */
    void acknowledge(long seq) {
        outbox.acknowledge(seq).forEach(held::remove);
    }

    /** Everything that is held, for the hello of a new stream, on which all unacknowledged outcomes are sent again. */
    List<AttemptRef> rewind() {
        outbox.rewind();
        return held.keySet().stream().map(AttemptId::toRef).toList();
    }

    /** These are no longer ours: their outcomes are forgotten. Returns those that were held. */
    List<Attempt> lose(Collection<AttemptId> ids) {
        var lost = new ArrayList<Attempt>();
        for (AttemptId id : List.copyOf(ids)) {
            Attempt attempt = held.remove(id);
            if (attempt != null) {
                outbox.forget(id);
                lost.add(attempt);
            }
        }
        return lost;
    }

    /** The session is gone, and with it everything. */
    List<Attempt> loseAll() {
        return lose(held.keySet());
    }
}
