package legion

import (
	"context"
	"errors"
	"slices"
	"sync"

	registryv1 "example.com/legion-agent/gen/legion/registry/v1"
	"google.golang.org/protobuf/proto"
)

const (
	maxItems   = 1000    // outcomes or progress in a frame, as the contract says
	frameBytes = 1 << 20 // enough for outcomes in one frame; far less than the 32 MiB that are allowed
)

var errLost = errors.New("the mesh has given it to another agent")

type attemptKey struct {
	taskID  string
	attempt uint32
}

// book is what the agent holds, through all streams: each attempt from its assignment until the mesh has dealt with its
// outcome, and what the present stream is to say next.
type book struct {
	// Has a value when there may be something to send.
	changed chan struct{}
	// Ends when the agent drains and holds nothing any more. From then on it takes nothing.
	drained    context.Context
	setDrained context.CancelFunc

	mu          sync.Mutex
	held        map[attemptKey]*Task
	fresh       []*Task // not started: that the frame arrived is said first
	outbox      []*Task // answered, not sent on this stream
	sent        []*Task // answered, sent on this stream, in the order of their frames
	progress    []*registryv1.AttemptProgress
	sessionID   string
	drainReason string
	draining    bool
	drainSaid   bool   // on this stream
	seq         uint64 // of the last frame sent on this stream
	received    uint64 // seq of the last frame received on this stream
	acked       uint64 // the last ack sent on this stream
}

func newBook() *book {
	b := &book{changed: make(chan struct{}, 1), held: map[attemptKey]*Task{}}
	b.drained, b.setDrained = context.WithCancel(context.Background())
	return b
}

// hello begins a stream: its first frame names all that is held, and what was not acknowledged will be sent again.
func (b *book) hello(who *registryv1.Hello) *registryv1.ConnectRequest {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seq, b.received, b.acked, b.drainSaid = 1, 0, 0, false
	b.outbox = slices.Concat(b.sent, b.outbox)
	b.sent = nil
	hello := proto.CloneOf(who)
	if hello.SessionId = b.sessionID; b.sessionID != "" {
		for key := range b.held {
			hello.InFlight = append(hello.InFlight, &registryv1.AttemptRef{TaskId: key.taskID, Attempt: key.attempt})
		}
	}
	return &registryv1.ConnectRequest{Seq: b.seq, Hello: hello}
}

// welcome is told what the mesh still knows of what hello named.
func (b *book) welcome(welcome *registryv1.Welcome) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sessionID = welcome.GetSessionId()
	for key := range b.held {
		if !welcome.GetResumed() {
			b.forget(key)
		}
	}
	for _, ref := range welcome.GetLost() {
		b.forget(attemptKey{ref.GetTaskId(), ref.GetAttempt()})
	}
}

// receive takes a frame with all that is in it for attempts.
func (b *book) receive(frame *registryv1.ConnectResponse) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.received = frame.GetSeq()
	for len(b.sent) > 0 && b.sent[0].frame <= frame.GetAck() {
		if t := b.sent[0]; b.held[t.key()] == t {
			delete(b.held, t.key())
		}
		b.sent = b.sent[1:]
	}
	for _, rejection := range frame.GetRejections() {
		b.forget(attemptKey{rejection.GetTaskId(), rejection.GetAttempt()})
	}
	b.checkDrained()
	for _, assignment := range frame.GetAssignments() {
		t := newTask(assignment, b)
		if b.held[t.key()] == nil && b.drained.Err() == nil {
			b.held[t.key()] = t
			b.fresh = append(b.fresh, t)
		}
	}
	for _, c := range frame.GetCancels() {
		if t := b.held[attemptKey{c.GetTaskId(), c.GetAttempt()}]; t != nil {
			t.cancel(canceled{c.GetReason()})
		}
	}
	b.wake()
}

// next makes the frame to send now, and names the attempts that may start once it is sent. Nil: there is nothing to say.
func (b *book) next(heartbeat bool) (*registryv1.ConnectRequest, []*Task) {
	b.mu.Lock()
	defer b.mu.Unlock()
	frame := &registryv1.ConnectRequest{}
	if heartbeat {
		frame.Heartbeat = &registryv1.Heartbeat{}
	}
	if b.draining && !b.drainSaid {
		b.drainSaid = true
		frame.Drain = &registryv1.Drain{Reason: text(b.drainReason, 1024)}
	}
	frame.Progress, b.progress = b.progress, nil
	for size := 0; len(b.outbox) > 0 && len(frame.Outcomes) < maxItems && size < frameBytes; b.outbox = b.outbox[1:] {
		t := b.outbox[0]
		t.frame = b.seq + 1
		b.sent = append(b.sent, t)
		frame.Outcomes = append(frame.Outcomes, t.outcome)
		size += proto.Size(t.outcome)
	}
	if proto.Size(frame) == 0 && b.acked == b.received {
		return nil, nil
	}
	b.seq++
	b.acked = b.received
	frame.Seq, frame.Ack = b.seq, b.received
	fresh := b.fresh
	b.fresh = nil
	return frame, fresh
}

// answer keeps an outcome until it is acknowledged, unless the attempt is not ours any more.
func (b *book) answer(t *Task, outcome *registryv1.AttemptOutcome) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held[t.key()] != t {
		return
	}
	t.outcome = outcome
	b.outbox = append(b.outbox, t)
	b.wake()
}

func (b *book) report(t *Task, progress *registryv1.AttemptProgress) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held[t.key()] != t {
		return
	}
	// What the mesh does not take in time is old news.
	if len(b.progress) == maxItems {
		b.progress = b.progress[1:]
	}
	b.progress = append(b.progress, progress)
	b.wake()
}

func (b *book) drain(reason string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.draining, b.drainReason = true, reason
	b.checkDrained()
	b.wake()
}

func (b *book) forgetAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key := range b.held {
		b.forget(key)
	}
}

// forget stops an attempt that is not ours any more; whatever its handler returns counts for nothing. Call it with mu.
func (b *book) forget(key attemptKey) {
	t := b.held[key]
	if t == nil {
		return
	}
	delete(b.held, key)
	t.cancel(errLost)
	isIt := func(other *Task) bool { return other == t }
	b.fresh = slices.DeleteFunc(b.fresh, isIt)
	b.outbox = slices.DeleteFunc(b.outbox, isIt)
	b.checkDrained()
}

// Call it with mu.
func (b *book) checkDrained() {
	if b.draining && len(b.held) == 0 {
		b.setDrained()
	}
}

func (b *book) wake() {
	select {
	case b.changed <- struct{}{}:
	default:
	}
}
