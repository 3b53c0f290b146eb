package legion;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import io.grpc.Status;
import java.lang.System.Logger.Level;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import legion.common.v1.ExecutionStats;
import legion.registry.v1.Assignment;
import legion.registry.v1.AttemptOutcome;
import legion.registry.v1.CancelAttempt;
import legion.registry.v1.CancelCause;
import legion.registry.v1.ConnectResponse;
import legion.registry.v1.OutcomeRejection;
import legion.registry.v1.Welcome;

/**
 * Keeps a session through broken streams: connects, resumes, moves to another Registry, drains, gives up when it is
 * refused. Touched on one thread alone, {@code loop}; handlers run on those of {@code workers} and are heard of there.
 */
final class Session implements Connection.Listener, Attempt.Listener {
    private static final System.Logger LOG = System.getLogger(Session.class.getName());

    private final AgentOptions options;
    private final Map<String, Handler> handlers;
    private final AgentEvents events;
    private final ExecutorService workers;
    private final ScheduledExecutorService loop;
    private final CompletableFuture<Void> over;
    private final InFlight inFlight = new InFlight();
    /** Null between two streams. */
    private Connection connection;

    private String sessionId = "";
    private int maxResultBytes;
    private int nextRegistry;
    private int failures;
    private String drainReason;
    private boolean moving;

    /** {@code over} is completed when the session has ended for good. */
    Session(
            AgentOptions options,
            Map<String, Handler> handlers,
            AgentEvents events,
            ExecutorService workers,
            ScheduledExecutorService loop,
            CompletableFuture<Void> over) {
        this.options = options;
        this.handlers = handlers;
        this.events = events;
        this.workers = workers;
        this.loop = loop;
        this.over = over;
        nextRegistry = ThreadLocalRandom.current().nextInt(options.registries().size());
    }

    /** Opens a stream, the first or the next. */
    void connect() {
        var hello = options.hello(handlers.keySet()).setSessionId(sessionId).addAllInFlight(inFlight.rewind());
        String target =
                options.registries().get(nextRegistry++ % options.registries().size());
        connection = new Connection(target, hello.build(), inFlight, loop, this);
    }

    @Override
    public void welcomed(Welcome welcome) {
        List<Attempt> lost = welcome.getResumed()
                ? inFlight.lose(
                        welcome.getLostList().stream().map(AttemptId::of).toList())
                : inFlight.loseAll();
        lost.forEach(attempt -> attempt.stop(new Ending.Canceled("The attempt was given to another agent.")));
        sessionId = welcome.getSessionId();
        maxResultBytes = welcome.getMaxResultBytes();
        failures = 0;
        moving = false;
        events.connected(sessionId, welcome.getResumed());
        if (drainReason != null) {
            connection.drain(drainReason);
        }
    }

    @Override
    public void received(ConnectResponse frame) {
        inFlight.acknowledge(frame.getAck());
        frame.getRejectionsList().forEach(this::reject);
        frame.getAssignmentsList().forEach(this::begin);
        frame.getCancelsList().forEach(this::cancel);
        if (frame.hasDrain() && frame.getDrain().getReconnect()) {
            moving = true;
            connection.abort("the session moves to another Registry");
        } else if (frame.hasDrain()) {
            drain(frame.getDrain().getReason());
        }
        finishIfDrained();
    }

    @Override
    public void closed(Throwable error) {
        connection = null;
        if (drainReason != null && inFlight.isEmpty()) {
            over.complete(null);
        } else if (isFinal(error)) {
            over.completeExceptionally(new AgentRefused(error));
        } else {
            Duration delay = moving ? Duration.ZERO : Backoff.delay(++failures);
            moving = false;
            String why = error == null ? "the Registry ended it" : error.getMessage();
            LOG.log(Level.INFO, "The stream is over ({0}), the next one begins in {1} ms", why, delay.toMillis());
            loop.schedule(this::connect, delay.toMillis(), TimeUnit.MILLISECONDS);
        }
    }

    /** A hello that is wrong stays wrong; and where a newer process uses our id, coming back would fence that one. */
    private static boolean isFinal(Throwable error) {
        return error != null
                && (Status.fromThrowable(error).getCode() == Status.Code.INVALID_ARGUMENT
                        || ErrorReason.of(error).equals("SESSION_FENCED"));
    }

    /** Takes nothing new, finishes what is held, and ends. */
    void drain(String reason) {
        if (drainReason == null) {
            drainReason = reason;
            events.draining();
            if (connection != null) {
                connection.drain(reason);
            }
            finishIfDrained();
        }
    }

    private void finishIfDrained() {
        if (drainReason == null || !inFlight.isEmpty()) {
            return;
        }
        if (connection == null) {
            over.complete(null);
        } else if (connection.isWelcomed()) {
            connection.end();
        } else {
            connection.abort("the agent stops");
        }
    }

    private void begin(Assignment assignment) {
        var handler = handlers.getOrDefault(assignment.getCapability(), Session::unknown);
        var attempt = new Attempt(assignment, handler, options, this);
        if (inFlight.hold(attempt)) {
            if (assignment.hasExecutionTimeout()) {
                attempt.limit(Durations.of(assignment.getExecutionTimeout()), loop);
            }
            workers.execute(attempt);
        }
    }

    private static JsonElement unknown(JsonObject input, Task task) throws TaskFailure {
        throw new TaskFailure("NOT_IMPLEMENTED", "This agent does not offer that.", false);
    }

    private void cancel(CancelAttempt cancel) {
        Attempt attempt = inFlight.find(AttemptId.of(cancel));
        if (attempt != null) {
            boolean late = cancel.getCause() == CancelCause.CANCEL_CAUSE_TIMEOUT;
            attempt.stop(late ? new Ending.TimedOut() : new Ending.Canceled(cancel.getReason()));
        }
    }

    private void reject(OutcomeRejection rejection) {
        LOG.log(Level.INFO, "An outcome was not recorded: {0}", rejection);
        inFlight.lose(List.of(AttemptId.of(rejection)));
    }

    @Override
    public void begun(Attempt attempt) {
        loop.execute(() -> events.begun(attempt));
    }

    @Override
    public void progressed(Attempt attempt) {
        loop.execute(() -> {
            var news = attempt.takeNews();
            if (connection != null && inFlight.holds(attempt)) {
                connection.report(news);
            }
        });
    }

    @Override
    public void ended(Attempt attempt, Ending ending, Duration duration) {
        loop.execute(() -> answer(attempt, fitting(ending), duration));
    }

    private Ending fitting(Ending ending) {
        if (ending instanceof Ending.Completed completed && completed.json().size() > maxResultBytes) {
            String message = "The result has %,d bytes; the mesh takes at most %,d."
                    .formatted(completed.json().size(), maxResultBytes);
            return new Ending.Failed("RESULT_TOO_LARGE", message, false);
        }
        return ending;
    }

    private void answer(Attempt attempt, Ending ending, Duration duration) {
        events.ended(attempt, ending);
        var outcome = AttemptOutcome.newBuilder()
                .setTaskId(attempt.taskId())
                .setAttempt(attempt.attempt())
                .setOutcome(ending.toOutcome())
                .setStats(ExecutionStats.newBuilder().setDuration(Durations.of(duration)));
        if (inFlight.answer(attempt, outcome.build()) && connection != null) {
            connection.flushSoon();
        }
    }
}
