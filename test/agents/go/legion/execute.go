package legion

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	commonv1 "example.com/legion-agent/gen/legion/common/v1"
	registryv1 "example.com/legion-agent/gen/legion/registry/v1"
)

// execute runs an attempt to its end, whatever becomes of the stream it came by.
func (a *Agent) execute(t *Task) {
	defer t.cancel(nil)
	ref := []any{"task_id", t.GetTaskId(), "attempt", t.GetAttempt()}
	a.Events.Info("begin", append(ref, "capability", t.GetCapability())...)
	ctx, span := a.startSpan(t)
	result, err := a.call(ctx, t)
	how := "completed"
	if err != nil && t.ctx.Err() != nil {
		how = "canceled"
	} else if err != nil {
		how = "failed"
	}
	a.Events.Info("end", append(ref, "how", how)...)
	outcome := a.outcome(t, result, err)
	endSpan(span, outcome, err)
	t.book.answer(t, &registryv1.AttemptOutcome{TaskId: t.GetTaskId(), Attempt: t.GetAttempt(), Outcome: outcome})
}

func (a *Agent) call(ctx context.Context, t *Task) (result []byte, err error) {
	defer func() {
		if thrown := recover(); thrown != nil {
			a.Log.Error("a handler panicked", "capability", t.GetCapability(), "panic", thrown, "stack", string(debug.Stack()))
			err = &Failure{Code: "panic", Message: fmt.Sprint(thrown), Retryable: true}
		}
	}()
	if err := t.ctx.Err(); err != nil {
		return nil, err
	}
	handler := a.Handlers[t.GetCapability()]
	if handler == nil {
		return nil, &Failure{Code: "UNKNOWN_CAPABILITY", Message: "this agent has no handler for " + t.GetCapability()}
	}
	return handler(ctx, t)
}

func (a *Agent) outcome(t *Task, result []byte, err error) *commonv1.Outcome {
	if limit := int(a.maxResultBytes.Load()); err == nil && limit > 0 && len(result) > limit {
		message := fmt.Sprintf("the result has %d bytes; at most %d are kept", len(result), limit)
		err = &Failure{Code: "RESULT_TOO_LARGE", Message: message}
	}
	if err == nil {
		completed := &commonv1.Completed{Result: &commonv1.Payload{Data: result}}
		return &commonv1.Outcome{Kind: &commonv1.Outcome_Completed{Completed: completed}}
	}
	var failure *Failure
	if cause := context.Cause(t.ctx); errors.Is(cause, context.DeadlineExceeded) {
		// Nobody asked for this stop, so it is no cancel.
		failure = &Failure{Code: "EXECUTION_TIMEOUT", Message: cause.Error(), Retryable: true}
	} else if cause != nil {
		reason := text(cause.Error(), 1024)
		return &commonv1.Outcome{Kind: &commonv1.Outcome_Canceled{Canceled: &commonv1.Canceled{Reason: reason}}}
	} else if !errors.As(err, &failure) {
		failure = &Failure{Message: err.Error(), Retryable: true}
	}
	failed := &commonv1.Failed{
		Code:        text(failure.Code, 128),
		Message:     text(failure.Message, 16<<10),
		Retryable:   failure.Retryable,
		CallerFault: failure.CallerFault,
	}
	return &commonv1.Outcome{Kind: &commonv1.Outcome_Failed{Failed: failed}}
}
