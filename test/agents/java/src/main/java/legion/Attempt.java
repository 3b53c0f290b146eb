package legion;

import io.opentelemetry.api.trace.Span;
import java.time.Duration;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import legion.registry.v1.Assignment;
import legion.registry.v1.AttemptProgress;

/** Runs the handler for one assignment, on the thread of whoever calls {@code run}, and stops it by interrupting it. */
final class Attempt implements Runnable, Task {
    /** Called on the handler's thread. */
    interface Listener {
        void begun(Attempt attempt);

        /** There is news; at most one such call is open until {@link #takeNews} is called. */
        void progressed(Attempt attempt);

        void ended(Attempt attempt, Ending ending, Duration duration);
    }

    private final Assignment assignment;
    private final Handler handler;
    private final AgentOptions agent;
    private final Listener listener;
    private final AtomicReference<AttemptProgress> news = new AtomicReference<>();
    /** The handler's thread, while it runs. Guarded by {@code this}, as is {@code stopped}. */
    private Thread thread;

    private Ending stopped;
    private ScheduledFuture<?> timeout;

    Attempt(Assignment assignment, Handler handler, AgentOptions agent, Listener listener) {
        this.assignment = assignment;
        this.handler = handler;
        this.agent = agent;
        this.listener = listener;
    }

    AttemptId id() {
        return AttemptId.of(assignment);
    }

    @Override
    public String capability() {
        return assignment.getCapability();
    }

    @Override
    public String taskId() {
        return assignment.getTaskId();
    }

    @Override
    public int attempt() {
        return assignment.getAttempt();
    }

    @Override
    public void progress(double fraction, String message) {
        var progress = AttemptProgress.newBuilder()
                .setTaskId(taskId())
                .setAttempt(attempt())
                .setFraction(fraction)
                .setMessage(message)
                .build();
        if (news.getAndSet(progress) == null) {
            listener.progressed(this);
        }
    }

    AttemptProgress takeNews() {
        return news.getAndSet(null);
    }

    /** {@code ending} is what a handler that stops for it has come to. Only the first call counts. */
    synchronized void stop(Ending ending) {
        if (stopped == null) {
            stopped = ending;
            if (thread != null) {
                thread.interrupt();
            }
        }
    }

    /** Stops it after so long, in case the mesh cannot say so in time. To be called before it runs. */
    void limit(Duration executionTimeout, ScheduledExecutorService timer) {
        timeout = timer.schedule(() -> stop(new Ending.TimedOut()), executionTimeout.toNanos(), TimeUnit.NANOSECONDS);
    }

    @Override
    public void run() {
        long startNanos = System.nanoTime();
        listener.begun(this);
        Span span = Spans.execute(assignment, agent);
        Ending ending = enter() ? handle(span) : stopped;
        Spans.end(span, ending);
        if (timeout != null) {
            timeout.cancel(false);
        }
        listener.ended(this, ending, Duration.ofNanos(System.nanoTime() - startNanos));
    }

    private Ending handle(Span span) {
        // The handler's own spans are its children.
        try (var scope = span.makeCurrent()) {
            var result = handler.handle(Json.parse(assignment.getTaskData().getData()), this);
            leave();
            return new Ending.Completed(Json.write(result));
        } catch (Throwable thrown) {
            // Whatever a handler throws, be it a StackOverflowError, is its task's failure and not the agent's.
            Ending asked = leave();
            span.recordException(thrown);
            return asked == null ? Ending.Failed.of(thrown) : asked;
        }
    }

    /** False if it was stopped before it had begun. */
    private synchronized boolean enter() {
        if (stopped != null) {
            return false;
        }
        thread = Thread.currentThread();
        return true;
    }

    /** From now on nobody interrupts, and an interrupt that came too late is not left to the thread's next attempt. */
    private synchronized Ending leave() {
        thread = null;
        Thread.interrupted();
        return stopped;
    }
}
