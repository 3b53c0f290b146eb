package legion

import (
	"cmp"
	"context"

	commonv1 "example.com/legion-agent/gen/legion/common/v1"
	dispatcherv1 "example.com/legion-agent/gen/legion/dispatcher/v1"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

var w3c propagation.TraceContext

// tracer is that of the program's own provider, whenever it sets one; without one its spans are not recorded.
var tracer = otel.Tracer("legion")

// startSpan starts the span of an attempt, under the assignment's. What the handler does with the context lies under it.
func (a *Agent) startSpan(t *Task) (context.Context, trace.Span) {
	parent := propagation.MapCarrier{"traceparent": t.GetTraceparent(), "tracestate": t.GetTracestate()}
	return tracer.Start(w3c.Extract(t.ctx, parent), "execute "+t.GetCapability(),
		trace.WithSpanKind(trace.SpanKindConsumer),
		messaging("process", "execute", a.Hello.GetNamespace(), t),
		trace.WithAttributes(
			attribute.Int("legion.attempt", int(t.GetAttempt())),
			attribute.String("legion.agent.id", a.Hello.GetAgentId()),
			attribute.String("legion.agent.name", a.Hello.GetName()),
			attribute.String("legion.agent.version", a.Hello.GetVersion()),
		))
}

func endSpan(span trace.Span, outcome *commonv1.Outcome, err error) {
	switch kind := outcome.GetKind().(type) {
	case *commonv1.Outcome_Completed:
		span.SetAttributes(attribute.String("legion.outcome", "completed"))
	case *commonv1.Outcome_Canceled:
		span.SetAttributes(attribute.String("legion.outcome", "canceled"))
	case *commonv1.Outcome_Failed:
		span.SetAttributes(
			attribute.String("legion.outcome", "failed"),
			attribute.String("error.type", kind.Failed.GetCode()),
			attribute.Bool("legion.retryable", kind.Failed.GetRetryable()),
		)
		span.RecordError(err)
		span.SetStatus(codes.Error, kind.Failed.GetMessage())
	}
	span.End()
}

// StartSend starts the span of handing a task over, under that of ctx, and makes it the task's parent. What it returns ends it.
func StartSend(ctx context.Context, spec *dispatcherv1.TaskSpec) func(error) {
	ctx, span := tracer.Start(ctx, "send "+spec.GetCapability(),
		trace.WithSpanKind(trace.SpanKindProducer), messaging("send", "submit", spec.GetNamespace(), spec))
	strings := propagation.MapCarrier{}
	w3c.Inject(ctx, strings)
	spec.Traceparent, spec.Tracestate = strings["traceparent"], strings["tracestate"]
	return func(err error) {
		if err != nil {
			span.RecordError(err)
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
	}
}

// message is what is on its way: a task or an attempt at one.
type message interface {
	GetCapability() string
	GetTaskId() string
	GetTaskData() *commonv1.Payload
}

func messaging(kind, operation, namespace string, m message) trace.SpanStartEventOption {
	return trace.WithAttributes(
		attribute.String("messaging.system", "legion"),
		attribute.String("messaging.operation.type", kind),
		attribute.String("messaging.operation.name", operation),
		attribute.String("messaging.destination.name", m.GetCapability()),
		attribute.String("messaging.message.id", m.GetTaskId()),
		attribute.Int("messaging.message.body.size", len(m.GetTaskData().GetData())),
		attribute.String("legion.namespace", cmp.Or(namespace, "default")),
	)
}
