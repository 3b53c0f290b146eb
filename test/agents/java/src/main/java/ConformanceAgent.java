import static java.util.stream.Collectors.toMap;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import legion.Agent;
import legion.AgentEvents;
import legion.AgentOptions;
import legion.AgentRefused;
import legion.Ending;
import legion.Handler;
import legion.Task;
import legion.TaskFailure;
import sun.misc.Signal;

/** An agent with the handlers that every language has, to be tried by one list of behaviours. */
public final class ConformanceAgent {
    private static final Map<String, Handler> HANDLERS = Map.of(
            "echo",
            (input, task) -> input,
            "sleep",
            ConformanceAgent::sleep,
            "fail",
            ConformanceAgent::fail,
            "crash",
            (input, task) -> {
                throw new IllegalStateException(input.get("message").getAsString());
            },
            "burn",
            ConformanceAgent::burn,
            "fill",
            (input, task) -> with("fill", "x".repeat(input.get("bytes").getAsInt())));

    private ConformanceAgent() {}

    public static void main(String[] args) throws InterruptedException {
        var env = System.getenv();
        var options = new AgentOptions(
                List.of(env.getOrDefault("LEGION_REGISTRY", "127.0.0.1:7401").split(",")),
                env.getOrDefault("AGENT_ID", "java-" + ProcessHandle.current().pid()),
                "java-example",
                "1.0.0",
                4,
                Map.of("language", "java"));
        var offered = Arrays.stream(env.getOrDefault("CAPABILITIES", String.join(",", HANDLERS.keySet()))
                .split(","));
        var agent = new Agent(options, offered.collect(toMap(name -> name, HANDLERS::get)), new Printer());
        drainOnSignal(agent);
        try {
            try (var telemetry = Telemetry.start("java-example")) {
                agent.run();
            }
            System.exit(0);
        } catch (AgentRefused refused) {
            System.err.println(refused.getMessage());
            System.exit(1);
        }
    }

    /** Not by a shutdown hook: with one the exit code would be 143, and a second signal would not be heard. */
    private static void drainOnSignal(Agent agent) {
        var asked = new AtomicBoolean();
        for (String name : List.of("TERM", "INT")) {
            Signal.handle(new Signal(name), signal -> {
                if (asked.getAndSet(true)) {
                    Runtime.getRuntime().halt(1);
                }
                agent.drain("SIG" + name);
            });
        }
    }

    private static JsonElement sleep(JsonObject input, Task task) throws InterruptedException {
        long millis = input.get("ms").getAsLong();
        int steps = input.has("steps") ? input.get("steps").getAsInt() : 0;
        long startNanos = System.nanoTime();
        for (int step = 1; step <= Math.max(steps, 1); step++) {
            long dueNanos = startNanos + TimeUnit.MILLISECONDS.toNanos(millis) * step / Math.max(steps, 1);
            TimeUnit.NANOSECONDS.sleep(dueNanos - System.nanoTime());
            if (steps > 0) {
                task.progress((double) step / steps, "step " + step + " of " + steps);
            }
        }
        return with("slept", millis);
    }

    private static JsonElement fail(JsonObject input, Task task) throws TaskFailure {
        String code = input.has("code") ? input.get("code").getAsString() : "Failed";
        boolean retryable = input.has("retryable") && input.get("retryable").getAsBoolean();
        throw new TaskFailure(code, input.get("message").getAsString(), retryable);
    }

    private static JsonElement burn(JsonObject input, Task task) {
        long millis = input.get("ms").getAsLong();
        long endNanos = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(millis);
        while (System.nanoTime() < endNanos) {
            Thread.onSpinWait();
        }
        return with("burned", millis);
    }

    private static JsonObject with(String name, Number value) {
        var object = new JsonObject();
        object.addProperty(name, value);
        return object;
    }

    private static JsonObject with(String name, String value) {
        var object = new JsonObject();
        object.addProperty(name, value);
        return object;
    }

    /** One JSON line an event. */
    private static final class Printer implements AgentEvents {
        @Override
        public void connected(String sessionId, boolean resumed) {
            var event = with("event", "connected");
            event.addProperty("session_id", sessionId);
            event.addProperty("resumed", resumed);
            System.out.println(event);
        }

        @Override
        public void begun(Task task) {
            var event = of("begin", task);
            event.addProperty("capability", task.capability());
            System.out.println(event);
        }

        @Override
        public void ended(Task task, Ending ending) {
            var event = of("end", task);
            event.addProperty("how", ending.how());
            System.out.println(event);
        }

        @Override
        public void draining() {
            System.out.println(with("event", "draining"));
        }

        private static JsonObject of(String name, Task task) {
            var event = with("event", name);
            event.addProperty("task_id", task.taskId());
            event.addProperty("attempt", task.attempt());
            return event;
        }
    }
}
