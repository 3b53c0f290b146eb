package legion;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import legion.registry.v1.AttemptOutcome;
import org.junit.jupiter.api.Test;

class OutboxTest {
    private final Outbox outbox = new Outbox();

    private void add(String... taskIds) {
        for (String taskId : taskIds) {
            outbox.add(Samples.outcome(taskId, 10));
        }
    }

    private List<String> take(long seq) {
        return outbox.take(seq).stream().map(AttemptOutcome::getTaskId).toList();
    }

    @Test
    void anOutcomeIsSentOnceAndDoneWhenItsFrameIsAcknowledged() {
        add("a", "b");
        assertEquals(List.of("a", "b"), take(2));
        add("c");
        assertEquals(List.of("c"), take(5));
        assertEquals(List.of(), take(6));
        assertEquals(List.of(), outbox.acknowledge(1));
        assertEquals(List.of(Samples.id("a"), Samples.id("b")), outbox.acknowledge(4));
        assertEquals(List.of(Samples.id("c")), outbox.acknowledge(5));
    }

    @Test
    void aNewStreamGetsAllThatIsNotAcknowledgedInItsOrder() {
        add("a", "b");
        take(2);
        add("c", "d");
        take(3);
        add("e");
        outbox.acknowledge(2);
        outbox.rewind();
        // Numbers of the new stream: an acknowledgement of the old one's frame 3 counts for nothing.
        assertEquals(List.of(), outbox.acknowledge(3));
        assertEquals(List.of("c", "d", "e"), take(2));
        assertEquals(3, outbox.acknowledge(2).size());
    }

    @Test
    void whatIsForgottenIsNotSentAgain() {
        add("a", "b");
        take(2);
        add("c", "d");
        outbox.forget(Samples.id("a"));
        outbox.forget(Samples.id("d"));
        outbox.rewind();
        assertEquals(List.of("b", "c"), take(2));
    }

    @Test
    void aFrameCarriesAThousandOrAMebibyteAndAlwaysOne() {
        for (int count = 0; count < 1_001; count++) {
            add("small");
        }
        assertEquals(List.of(1_000, 1), List.of(take(1).size(), take(2).size()));
        outbox.add(Samples.outcome("large", 3 * 1024 * 1024));
        outbox.add(Samples.outcome("large", 600 * 1024));
        outbox.add(Samples.outcome("large", 600 * 1024));
        outbox.add(Samples.outcome("large", 600 * 1024));
        assertEquals(List.of(1, 2, 1), List.of(take(3).size(), take(4).size(), take(5).size()));
    }
}
