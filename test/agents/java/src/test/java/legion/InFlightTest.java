package legion;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import legion.registry.v1.AttemptRef;
import org.junit.jupiter.api.Test;

class InFlightTest {
    private final InFlight inFlight = new InFlight();

    private Attempt hold(String taskId) {
        Attempt attempt = Samples.attempt(taskId);
        assertTrue(inFlight.hold(attempt));
        return attempt;
    }

    private boolean answer(Attempt attempt) {
        return inFlight.answer(attempt, Samples.outcome(attempt.taskId(), 10));
    }

    private List<String> held() {
        return inFlight.rewind().stream().map(AttemptRef::getTaskId).toList();
    }

    @Test
    void anAttemptIsHeldUntilItsOutcomeIsAcknowledged() {
        Attempt running = hold("running");
        Attempt answered = hold("answered");
        assertTrue(answer(answered));
        inFlight.take(2);
        assertEquals(List.of("running", "answered"), held());
        assertEquals(1, inFlight.take(2).size(), "sent again on the new stream");
        inFlight.acknowledge(2);
        assertEquals(List.of("running"), held());
        answer(running);
        inFlight.take(2);
        inFlight.acknowledge(2);
        assertTrue(inFlight.isEmpty());
    }

    @Test
    void whatIsDeliveredTwiceIsHeldOnce() {
        hold("a");
        assertFalse(inFlight.hold(Samples.attempt("a")));
    }

    @Test
    void theAnswerOfALostAttemptIsNobodysEvenIfItIsDeliveredAnew() {
        Attempt lost = hold("a");
        assertEquals(List.of(lost), inFlight.lose(List.of(Samples.id("a"), Samples.id("never held"))));
        Attempt again = hold("a");
        assertFalse(answer(lost));
        assertTrue(answer(again));
        assertEquals(1, inFlight.take(2).size());
    }

    @Test
    void withTheSessionAllIsLostOutcomesToo() {
        Attempt sent = hold("sent");
        answer(sent);
        inFlight.take(2);
        Attempt running = hold("running");
        assertEquals(List.of(sent, running), inFlight.loseAll());
        assertTrue(inFlight.isEmpty());
        inFlight.rewind();
        assertEquals(List.of(), inFlight.take(2));
    }
}
