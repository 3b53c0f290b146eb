package legion;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(10)
class AttemptTest {
    private final ExecutorService worker = Executors.newSingleThreadExecutor();
    private final CompletableFuture<Ending> ending = new CompletableFuture<>();
    private final CountDownLatch handling = new CountDownLatch(1);
    private int told;

    private final Attempt.Listener listener = new Attempt.Listener() {
        @Override
        public void begun(Attempt attempt) {}

        @Override
        public void progressed(Attempt attempt) {
            told++;
        }

        @Override
        public void ended(Attempt attempt, Ending how, Duration duration) {
            ending.complete(how);
        }
    };

    private Attempt attempt(Handler handler) {
        return new Attempt(Samples.assignment("a"), handler, Samples.AGENT, listener);
    }

    private JsonElement sleep(JsonObject input, Task task) throws InterruptedException {
        handling.countDown();
        TimeUnit.MINUTES.sleep(1);
        return input;
    }

    @AfterEach
    void stopWorker() {
        worker.shutdownNow();
    }

    @Test
    void aHandlerThatWaitsIsInterruptedAndItsThreadGoesOnUnharmed() throws Exception {
        Attempt attempt = attempt(this::sleep);
        worker.execute(attempt);
        handling.await();
        attempt.stop(new Ending.Canceled("why not"));
        assertEquals(new Ending.Canceled("why not"), ending.get());
        assertFalse(worker.submit(() -> Thread.currentThread().isInterrupted()).get());
    }

    @Test
    void whatComesTooLateInterruptsNobody() throws Exception {
        Attempt attempt = attempt((input, task) -> input);
        worker.submit(attempt).get();
        attempt.stop(new Ending.Canceled(""));
        assertInstanceOf(Ending.Completed.class, ending.get());
        assertFalse(worker.submit(() -> Thread.currentThread().isInterrupted()).get());
    }

    @Test
    void whatIsStoppedBeforeItBeginsNeverBegins() throws Exception {
        Attempt attempt = attempt(this::sleep);
        attempt.stop(new Ending.TimedOut());
        attempt.stop(new Ending.Canceled("too late"));
        worker.execute(attempt);
        assertEquals(new Ending.TimedOut(), ending.get());
        assertEquals(1, handling.getCount());
    }

    @Test
    void theExecutionTimeoutStopsIt() throws Exception {
        var timer = Executors.newSingleThreadScheduledExecutor();
        try {
            Attempt attempt = attempt(this::sleep);
            attempt.limit(Duration.ofMillis(20), timer);
            worker.execute(attempt);
            assertEquals(new Ending.TimedOut(), ending.get());
        } finally {
            timer.shutdownNow();
        }
    }

    @Test
    void whateverIsThrownIsAFailureWithTheNameOfItsClass() throws Exception {
        worker.execute(attempt((input, task) -> recurse()));
        var failed = assertInstanceOf(Ending.Failed.class, ending.get());
        assertEquals("StackOverflowError", failed.code());
        assertTrue(failed.retryable());
    }

    private static JsonElement recurse() {
        return recurse();
    }

    @Test
    void aPreparedFailureIsToldAsItIs() throws Exception {
        worker.execute(attempt((input, task) -> {
            throw new TaskFailure("NoSuchPlace", "It is full.", false);
        }));
        assertEquals(new Ending.Failed("NoSuchPlace", "It is full.", false), ending.get());
    }

    @Test
    void newsThatNobodyHasTakenAreReplaced() {
        Attempt attempt = attempt((input, task) -> input);
        attempt.progress(0.5, "one");
        attempt.progress(0.6, "two");
        assertEquals(1, told);
        assertEquals("two", attempt.takeNews().getMessage());
        assertNull(attempt.takeNews());
        attempt.progress(1, "three");
        assertEquals(2, told);
    }
}
