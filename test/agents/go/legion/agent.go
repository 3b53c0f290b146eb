// Package legion keeps an agent's session with the mesh: it says hello, runs handlers, sends what came out, beats,
// resumes after a broken stream, and drains. Copy it; the binding text is legion/registry/v1/session.proto.
package legion

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	registryv1 "example.com/legion-agent/gen/legion/registry/v1"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
)

const (
	minBackoff = 50 * time.Millisecond
	maxBackoff = 5 * time.Second
)

// Agent offers its handlers to the mesh. Its fields are set before Run and not changed afterwards.
type Agent struct {
	// Registries is where to connect, host:port each; every attempt goes to the next.
	Registries []string

	// Hello says who the agent is. Capabilities and what belongs to the session are filled in.
	Hello *registryv1.Hello

	// Handlers does the work, by capability.
	Handlers map[string]Handler

	// Credentials of the connection. Nil: no TLS.
	Credentials credentials.TransportCredentials

	// Events is told what happens to the session and to attempts, for programs. Nil: nobody.
	Events *slog.Logger

	// Log is for people. Nil: slog.Default().
	Log *slog.Logger

	book           *book
	failures       int // in a row, since the last welcome
	maxResultBytes atomic.Uint32
}

// Run works until ctx ends; then it drains: takes nothing new, finishes what it holds, and returns nil when the mesh has
// it all. It returns an error if the mesh refuses the agent for good, or gave its place to a newer process.
func (a *Agent) Run(ctx context.Context) error {
	if len(a.Registries) == 0 {
		return errors.New("no Registry to connect to")
	}
	a.book = newBook()
	a.Log = cmp.Or(a.Log, slog.Default())
	a.Events = cmp.Or(a.Events, slog.New(slog.DiscardHandler))
	a.Credentials = cmp.Or(a.Credentials, insecure.NewCredentials())
	a.Hello = proto.CloneOf(a.Hello)
	a.Hello.Resumable = true
	for name := range a.Handlers {
		a.Hello.Capabilities = append(a.Hello.Capabilities, &registryv1.Capability{Name: name})
	}

	ctx, drain := context.WithCancelCause(ctx)
	defer drain(nil)
	defer context.AfterFunc(ctx, func() {
		a.Events.Info("draining")
		a.book.drain(context.Cause(ctx).Error())
	})()

	for next := rand.IntN(len(a.Registries)); ; next++ {
		registry := a.Registries[next%len(a.Registries)]
		err := a.stream(ctx, drain, registry)
		if a.book.drained.Err() != nil {
			return nil
		}
		if isFinal(err) {
			a.book.forgetAll()
			return err
		}
		delay := backoff(a.failures)
		a.failures++
		a.Log.Warn("the stream ended", "registry", registry, "why", err, "retry_in", delay)
		select {
		case <-time.After(delay):
		case <-a.book.drained.Done():
			return nil
		}
	}
}

// backoff has full jitter, so that agents that lost one Registry together do not come back together.
func backoff(failures int) time.Duration {
	return rand.N(min(maxBackoff, minBackoff<<min(failures, 10)))
}
