import com.google.protobuf.ByteString;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.StatusCode;
import java.time.Duration;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import legion.Backoff;
import legion.ErrorReason;
import legion.Spans;
import legion.common.v1.Outcome;
import legion.common.v1.Payload;
import legion.dispatcher.v1.DispatcherServiceGrpc;
import legion.dispatcher.v1.RunTaskRequest;
import legion.dispatcher.v1.TaskSpec;

/** Hands over one task, waits for its outcome, and prints the result. */
public final class Client {
    private static final int FAILED = 1;
    private static final int REFUSED = 2;
    private static final int UNREACHABLE = 3;
    private static final int TOO_LATE = 4;

    // A finished task comes with its input and its result, of 2 MiB each unless the mesh is configured otherwise.
    private static final int MAX_RESPONSE_BYTES = 16 * 1024 * 1024;

    /** What is asked for on the command line. */
    private record Request(TaskSpec task, Duration timeout) {
        static Request parse(String[] args) {
            if (args.length < 2 || args.length % 2 != 0) {
                throw new IllegalArgumentException("Usage: Client CAPABILITY JSON [--timeout-ms N] [--task-id ID]");
            }
            var taskId = UUID.randomUUID().toString();
            var timeout = Duration.ofSeconds(60);
            for (int index = 2; index < args.length; index += 2) {
                switch (args[index]) {
                    case "--timeout-ms" -> timeout = Duration.ofMillis(Long.parseLong(args[index + 1]));
                    case "--task-id" -> taskId = args[index + 1];
                    default -> throw new IllegalArgumentException("Unknown option " + args[index]);
                }
            }
            var task = TaskSpec.newBuilder()
                    .setTaskId(taskId)
                    .setCapability(args[0])
                    .setTaskData(Payload.newBuilder().setData(ByteString.copyFromUtf8(args[1])));
            return new Request(task.build(), timeout);
        }
    }

    private Client() {}

    public static void main(String[] args) throws InterruptedException {
        int exitCode;
        try (var telemetry = Telemetry.start("java-client")) {
            exitCode = run(args);
        }
        System.exit(exitCode);
    }

    private static int run(String[] args) throws InterruptedException {
        try {
            Request request = Request.parse(args);
            return print(runTraced(request));
        } catch (IllegalArgumentException wrong) {
            System.err.println(wrong.getMessage());
            return REFUSED;
        } catch (StatusRuntimeException error) {
            System.err.println((ErrorReason.of(error) + " " + error.getMessage()).strip());
            return switch (error.getStatus().getCode()) {
                case UNAVAILABLE -> UNREACHABLE;
                case DEADLINE_EXCEEDED -> TOO_LATE;
                default -> REFUSED;
            };
        }
    }

    private static Outcome runTraced(Request request) throws InterruptedException {
        Span span = Spans.send(request.task());
        try {
            return runTask(Spans.under(span, request.task()), request.timeout());
        } catch (StatusRuntimeException error) {
            span.recordException(error);
            span.setStatus(StatusCode.ERROR, error.getMessage());
            throw error;
        } finally {
            span.end();
        }
    }

    /** Tries again what did not reach the mesh: its id makes it the same task, however often it is handed over. */
    private static Outcome runTask(TaskSpec task, Duration timeout) throws InterruptedException {
        long endNanos = System.nanoTime() + timeout.toNanos();
        List<String> dispatchers = List.of(System.getenv()
                .getOrDefault("LEGION_DISPATCHER", "127.0.0.1:7402")
                .split(","));
        int next = ThreadLocalRandom.current().nextInt(dispatchers.size());
        for (int failures = 0; ; next++) {
            try {
                return runTaskOnce(dispatchers.get(next % dispatchers.size()), task, endNanos - System.nanoTime());
            } catch (StatusRuntimeException error) {
                Duration delay = Backoff.delay(++failures);
                boolean late = System.nanoTime() + delay.toNanos() >= endNanos;
                if (error.getStatus().getCode() != Status.Code.UNAVAILABLE || late) {
                    throw error;
                }
                Thread.sleep(delay.toMillis());
            }
        }
    }

    private static Outcome runTaskOnce(String dispatcher, TaskSpec task, long timeoutNanos) {
        ManagedChannel channel = Grpc.newChannelBuilder(dispatcher, InsecureChannelCredentials.create())
                .maxInboundMessageSize(MAX_RESPONSE_BYTES)
                .build();
        try {
            return DispatcherServiceGrpc.newBlockingStub(channel)
                    .withDeadlineAfter(timeoutNanos, TimeUnit.NANOSECONDS)
                    .runTask(RunTaskRequest.newBuilder().setTask(task).build())
                    .getTask()
                    .getOutcome();
        } finally {
            channel.shutdownNow();
        }
    }

    private static int print(Outcome outcome) {
        if (outcome.hasCompleted()) {
            System.out.writeBytes(outcome.getCompleted().getResult().getData().toByteArray());
            System.out.println();
            return 0;
        }
        var failed = outcome.getFailed();
        System.err.println(
                outcome.hasCanceled()
                        ? "CANCELED: " + outcome.getCanceled().getReason()
                        : failed.getCode() + ": " + failed.getMessage());
        return FAILED;
    }
}
