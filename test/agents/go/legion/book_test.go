package legion

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	commonv1 "example.com/legion-agent/gen/legion/common/v1"
	registryv1 "example.com/legion-agent/gen/legion/registry/v1"
)

func assign(b *book, seq uint64, ids ...string) []*Task {
	frame := &registryv1.ConnectResponse{Seq: seq}
	for _, id := range ids {
		frame.Assignments = append(frame.Assignments, &registryv1.Assignment{TaskId: id, Attempt: 1})
	}
	b.receive(frame)
	_, fresh := b.next(false)
	return fresh
}

func answer(t *Task, bytes int) {
	result := &commonv1.Payload{Data: make([]byte, bytes)}
	outcome := &commonv1.Outcome{Kind: &commonv1.Outcome_Completed{Completed: &commonv1.Completed{Result: result}}}
	t.book.answer(t, &registryv1.AttemptOutcome{TaskId: t.GetTaskId(), Attempt: 1, Outcome: outcome})
}

func begin(b *book, resumed bool, lost ...string) *registryv1.Hello {
	hello := b.hello(&registryv1.Hello{AgentId: "a"}).GetHello()
	welcome := &registryv1.Welcome{SessionId: "s", Resumed: resumed}
	for _, id := range lost {
		welcome.Lost = append(welcome.Lost, &registryv1.AttemptRef{TaskId: id, Attempt: 1})
	}
	b.welcome(welcome)
	return hello
}

func named(refs []*registryv1.AttemptRef) (ids []string) {
	for _, ref := range refs {
		ids = append(ids, ref.GetTaskId())
	}
	slices.Sort(ids)
	return ids
}

func sentIDs(frame *registryv1.ConnectRequest) (ids []string) {
	for _, outcome := range frame.GetOutcomes() {
		ids = append(ids, outcome.GetTaskId())
	}
	return ids
}

func expect[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		t.Fatalf("%s: got %s, want %s", what, g, w)
	}
}

func TestOutcomeIsKeptUntilItsFrameIsAcknowledged(t *testing.T) {
	b := newBook()
	begin(b, false)
	tasks := assign(b, 1, "one", "two", "three")
	answer(tasks[0], 1)
	first, _ := b.next(false)
	answer(tasks[1], 1)
	second, _ := b.next(false)
	expect(t, "first", sentIDs(first), []string{"one"})
	expect(t, "second", sentIDs(second), []string{"two"})
	b.receive(&registryv1.ConnectResponse{Seq: 2, Ack: first.GetSeq()})

	// The stream breaks; what comes out meanwhile follows what was sent before.
	answer(tasks[2], 1)
	begin(b, true)
	expect(t, "in flight", named(begin(b, true).GetInFlight()), []string{"three", "two"})
	again, _ := b.next(false)
	expect(t, "sent again", sentIDs(again), []string{"two", "three"})
	expect(t, "seq of the new stream", again.GetSeq(), 2)
	b.receive(&registryv1.ConnectResponse{Seq: 1, Ack: again.GetSeq()})
	expect(t, "in flight", len(begin(b, true).GetInFlight()), 0)
}

func TestAttemptStartsWithTheAcknowledgementOfItsFrame(t *testing.T) {
	b := newBook()
	begin(b, false)
	frame := &registryv1.ConnectResponse{Seq: 7, Assignments: []*registryv1.Assignment{{TaskId: "one", Attempt: 1}}}
	b.receive(frame)
	ack, fresh := b.next(false)
	expect(t, "ack", ack.GetAck(), 7)
	expect(t, "fresh", len(fresh), 1)
	b.receive(&registryv1.ConnectResponse{Seq: 8, Assignments: frame.GetAssignments()})
	_, fresh = b.next(false)
	expect(t, "fresh again", len(fresh), 0)
	nothing, _ := b.next(false)
	expect(t, "nothing to say", nothing == nil, true)
}

func TestFrameHoldsAThousandOutcomesOrAMebibyte(t *testing.T) {
	for bytes, want := range map[int]int{10: maxItems, 2 << 20: 1, 100_000: 11} {
		b := newBook()
		begin(b, false)
		var ids []string
		for n := range maxItems + 1 {
			ids = append(ids, fmt.Sprint(n))
		}
		for _, task := range assign(b, 1, ids...) {
			answer(task, bytes)
		}
		frame, _ := b.next(false)
		expect(t, fmt.Sprintf("outcomes of %d bytes", bytes), len(frame.GetOutcomes()), want)
	}
}

func TestLatestProgressIsKept(t *testing.T) {
	b := newBook()
	begin(b, false)
	task := assign(b, 1, "one")[0]
	for n := range maxItems + 5 {
		task.Progress(0, fmt.Sprint(n))
	}
	answer(task, 1)
	task.Progress(1, "the last")
	frame, _ := b.next(false)
	expect(t, "progress", len(frame.GetProgress()), maxItems)
	expect(t, "the oldest is dropped", frame.GetProgress()[0].GetMessage(), "6")
	expect(t, "outcome", sentIDs(frame), []string{"one"})
	expect(t, "once", b.progress == nil, true)
}

func TestLostAttemptIsStoppedAndForgotten(t *testing.T) {
	b := newBook()
	begin(b, false)
	tasks := assign(b, 1, "running", "answered", "kept")
	answer(tasks[1], 1)
	begin(b, true, "running", "answered")
	expect(t, "stopped", tasks[0].ctx.Err() != nil, true)
	expect(t, "goes on", tasks[2].ctx.Err() == nil, true)
	answer(tasks[0], 1)
	answer(tasks[2], 1)
	frame, _ := b.next(false)
	expect(t, "outcomes", sentIDs(frame), []string{"kept"})

	begin(b, false)
	frame, _ = b.next(false)
	expect(t, "another session's outcomes", frame == nil, true)
}

func TestDrainEndsWhenAllIsAcknowledged(t *testing.T) {
	b := newBook()
	begin(b, false)
	task := assign(b, 1, "one")[0]
	b.drain("enough")
	frame, _ := b.next(false)
	expect(t, "drain", frame.GetDrain().GetReason(), "enough")
	frame, _ = b.next(false)
	expect(t, "said once", frame == nil, true)
	answer(task, 1)
	frame, _ = b.next(false)
	expect(t, "drained", b.drained.Err() != nil, false)
	begin(b, true)
	frame, _ = b.next(false)
	expect(t, "drain on the new stream", frame.GetDrain() != nil, true)
	b.receive(&registryv1.ConnectResponse{Seq: 2, Ack: frame.GetSeq()})
	expect(t, "drained", b.drained.Err() != nil, true)
	expect(t, "takes nothing", len(assign(b, 3, "two")), 0)
}

// Handlers answer from goroutines of their own while streams come and go under the one who writes.
func TestEveryOutcomeArrivesWhateverBreaks(t *testing.T) {
	const count = 1000
	b := newBook()
	begin(b, false)
	var handlers sync.WaitGroup
	arrived := map[string]int{}
	given := 0
	for round := 0; len(arrived) < count || len(begin(b, true).GetInFlight()) > 0; round++ {
		if round == 100_000 {
			t.Fatalf("only %d of %d outcomes arrived", len(arrived), count)
		}
		begin(b, true)
		seq := uint64(0)
		for range rand.IntN(20) {
			seq++
			in := &registryv1.ConnectResponse{Seq: seq}
			for range min(rand.IntN(30), count-given) {
				in.Assignments = append(in.Assignments, &registryv1.Assignment{TaskId: fmt.Sprint(given), Attempt: 1})
				given++
			}
			b.receive(in)
			out, fresh := b.next(true)
			for _, task := range fresh {
				handlers.Go(func() {
					task.Progress(0.5, "half")
					answer(task, 10)
				})
			}
			for _, id := range sentIDs(out) {
				arrived[id]++
			}
			if rand.IntN(2) == 0 {
				seq++
				b.receive(&registryv1.ConnectResponse{Seq: seq, Ack: out.GetSeq()})
			}
		}
	}
	handlers.Wait()
	expect(t, "arrived", len(arrived), count)
}

func TestTextCanBeSent(t *testing.T) {
	expect(t, "invalid", text("a\xffb", 10), "a\uFFFDb")
	cut := text(strings.Repeat("🦉", 10), 10)
	expect(t, "cut", cut, "🦉🦉")
	expect(t, "valid", utf8.ValidString(cut), true)
}

func TestBackoffGrowsToItsBound(t *testing.T) {
	for failures := range 100 {
		if delay := backoff(failures); delay < 0 || delay > maxBackoff {
			t.Fatalf("after %d failures: %s", failures, delay)
		}
	}
}
