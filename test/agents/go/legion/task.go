package legion

import (
	"context"
	"encoding/json"

	registryv1 "example.com/legion-agent/gen/legion/registry/v1"
)

// Handler does the work of one attempt: it takes a JSON object, the task's data, and returns one, its result. When ctx
// ends it should return ctx.Err() soon: somebody asked for a stop, the execution timeout has passed, or the attempt was
// given to another agent. What it returns without an error is the result even then. An error that is no *Failure, and a
// panic, are failures that may be tried again.
type Handler func(ctx context.Context, task *Task) ([]byte, error)

// JSON makes a handler of a function from one type to another.
func JSON[In, Out any](f func(context.Context, *Task, In) (Out, error)) Handler {
	return func(ctx context.Context, task *Task) ([]byte, error) {
		var in In
		if err := json.Unmarshal(task.Data(), &in); err != nil {
			return nil, &Failure{Code: "INVALID_INPUT", Message: err.Error(), CallerFault: true}
		}
		out, err := f(ctx, task, in)
		if err != nil {
			return nil, err
		}
		return json.Marshal(out)
	}
}

// Task is one attempt at a task.
type Task struct {
	*registryv1.Assignment
	book    *book
	ctx     context.Context
	cancel  context.CancelCauseFunc
	outcome *registryv1.AttemptOutcome // nil until it has ended
	frame   uint64                     // that carried the outcome on this stream
}

func newTask(assignment *registryv1.Assignment, b *book) *Task {
	t := &Task{Assignment: assignment, book: b}
	t.ctx, t.cancel = context.WithCancelCause(context.Background())
	if timeout := assignment.GetExecutionTimeout(); timeout != nil {
		stop := t.cancel
		ctx, stopTimer := context.WithTimeout(t.ctx, timeout.AsDuration())
		t.ctx, t.cancel = ctx, func(cause error) {
			stop(cause)
			stopTimer()
		}
	}
	return t
}

// Data is the task's input, a JSON object.
func (t *Task) Data() []byte {
	if data := t.GetTaskData().GetData(); len(data) > 0 {
		return data
	}
	return []byte("{}")
}

// Progress tells those who watch the task how far it is, from 0 to 1. It never blocks.
func (t *Task) Progress(fraction float64, message string) {
	t.book.report(t, &registryv1.AttemptProgress{
		TaskId: t.GetTaskId(), Attempt: t.GetAttempt(), Fraction: fraction, Message: text(message, 1024),
	})
}

func (t *Task) key() attemptKey {
	return attemptKey{t.GetTaskId(), t.GetAttempt()}
}
