package legion;

import io.opentelemetry.api.GlobalOpenTelemetry;
import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.SpanBuilder;
import io.opentelemetry.api.trace.SpanKind;
import io.opentelemetry.api.trace.StatusCode;
import io.opentelemetry.api.trace.Tracer;
import io.opentelemetry.api.trace.propagation.W3CTraceContextPropagator;
import io.opentelemetry.context.Context;
import io.opentelemetry.context.propagation.TextMapGetter;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import legion.common.v1.Failed;
import legion.dispatcher.v1.TaskSpec;
import legion.registry.v1.Assignment;

/** Spans of attempts and of tasks that are handed over, by the program's own OpenTelemetry; without one they are nothing. */
public final class Spans {
    private static final TextMapGetter<Map<String, String>> GETTER = new TextMapGetter<>() {
        @Override
        public Iterable<String> keys(Map<String, String> carrier) {
            return carrier.keySet();
        }

        @Override
        public String get(Map<String, String> carrier, String key) {
            return carrier.get(key);
        }
    };

    private Spans() {}

    /** The span of an attempt, under the assignment's. */
    static Span execute(Assignment assignment, AgentOptions agent) {
        var parent = W3CTraceContextPropagator.getInstance().extract(Context.root(), strings(assignment), GETTER);
        return messaging("execute", "process", "execute", assignment.getCapability(), assignment.getTaskId())
                .setParent(parent)
                .setSpanKind(SpanKind.CONSUMER)
                .setAttribute(
                        "messaging.message.body.size",
                        assignment.getTaskData().getData().size())
                .setAttribute("legion.attempt", assignment.getAttempt())
                .setAttribute("legion.agent.id", agent.agentId())
                .setAttribute("legion.agent.name", agent.name())
                .setAttribute("legion.agent.version", agent.version())
                .startSpan();
    }

    static void end(Span span, Ending ending) {
        var outcome = ending.toOutcome();
        span.setAttribute("legion.outcome", outcome.getKindCase().name().toLowerCase(Locale.ROOT));
        if (outcome.hasFailed()) {
            Failed failed = outcome.getFailed();
            span.setAttribute("error.type", failed.getCode());
            span.setAttribute("legion.retryable", failed.getRetryable());
            span.setStatus(StatusCode.ERROR, failed.getMessage());
        }
        span.end();
    }

    /** The span of handing a task over, under the current one. To be ended when it is answered. */
    public static Span send(TaskSpec task) {
        return messaging("send", "send", "submit", task.getCapability(), task.getTaskId())
                .setSpanKind(SpanKind.PRODUCER)
                .setAttribute(
                        "messaging.message.body.size",
                        task.getTaskData().getData().size())
                .startSpan();
    }

    /** The task as a child of the span. */
    public static TaskSpec under(Span span, TaskSpec task) {
        var strings = new HashMap<String, String>();
        W3CTraceContextPropagator.getInstance().inject(Context.root().with(span), strings, Map::put);
        return task.toBuilder()
                .setTraceparent(strings.getOrDefault("traceparent", task.getTraceparent()))
                .setTracestate(strings.getOrDefault("tracestate", task.getTracestate()))
                .build();
    }

    private static SpanBuilder messaging(String span, String type, String operation, String capability, String taskId) {
        // Asked for each time: the program may begin with telemetry after this class was loaded.
        Tracer tracer = GlobalOpenTelemetry.getTracer("legion");
        return tracer.spanBuilder(span + " " + capability)
                .setAttribute("messaging.system", "legion")
                .setAttribute("messaging.operation.type", type)
                .setAttribute("messaging.operation.name", operation)
                .setAttribute("messaging.destination.name", capability)
                .setAttribute("messaging.message.id", taskId)
                .setAttribute("legion.namespace", "default");
    }

    private static Map<String, String> strings(Assignment assignment) {
        var strings = new HashMap<String, String>();
        strings.put("traceparent", assignment.getTraceparent());
        strings.put("tracestate", assignment.getTracestate());
        strings.values().removeAll(List.of(""));
        return strings;
    }
}
