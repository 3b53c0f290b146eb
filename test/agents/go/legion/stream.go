package legion

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	registryv1 "example.com/legion-agent/gen/legion/registry/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
)

// How long a Registry may take to answer hello: an address that swallows everything gives no other sign.
const helloTimeout = 10 * time.Second

// Of the addresses that one name stands for, not all agents take the first.
const serviceConfig = `{"loadBalancingConfig": [{"pick_first": {"shuffleAddressList": true}}]}`

var (
	errSilent = errors.New("nothing was heard from the Registry")
	errMove   = errors.New("the Registry goes away and asks to go on elsewhere")
)

// stream holds one stream until it ends, and tells why it did. What handlers do goes on meanwhile and afterwards. The end
// of ctx does not end it; drain makes the agent drain.
func (a *Agent) stream(ctx context.Context, drain context.CancelCauseFunc, registry string) error {
	// A connection for each stream: one that is kept has a back-off of its own.
	conn, err := grpc.NewClient(registry, grpc.WithTransportCredentials(a.Credentials), grpc.WithDefaultServiceConfig(serviceConfig))
	if err != nil {
		return err
	}
	defer conn.Close()

	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	var writer sync.WaitGroup
	defer func() {
		cancel(nil)
		writer.Wait()
	}()
	silence := time.AfterFunc(helloTimeout, func() { cancel(errSilent) })
	defer silence.Stop()
	// Who holds nothing does not wait for an answer to hello.
	stopWaiting := context.AfterFunc(a.book.drained, func() { cancel(nil) })
	defer stopWaiting()

	stream, err := registryv1.NewRegistryServiceClient(conn).Connect(ctx)
	if err != nil {
		return err
	}
	// If it fails, Recv says why.
	_ = stream.Send(a.book.hello(a.Hello))

	patience := helloTimeout
	for welcomed := false; ; {
		frame, err := stream.Recv()
		if err != nil {
			// Where we ended it ourselves the status says only that.
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return err
		}
		if !welcomed {
			welcome := frame.GetWelcome()
			if welcome == nil {
				return fmt.Errorf("the first frame of %s has no welcome", registry)
			}
			welcomed = true
			stopWaiting()
			a.failures = 0
			a.maxResultBytes.Store(welcome.GetMaxResultBytes())
			a.book.welcome(welcome)
			a.Events.Info("connected", "session_id", welcome.GetSessionId(), "resumed", welcome.GetResumed())
			patience = durationOr(welcome.GetLeaseDuration(), 10*time.Second)
			interval := durationOr(welcome.GetHeartbeatInterval(), 3*time.Second)
			writer.Go(func() { a.write(ctx, stream, interval) })
		}
		silence.Reset(patience)
		a.book.receive(frame)
		for _, rejection := range frame.GetRejections() {
			a.Log.Warn("an outcome was not recorded", "task_id", rejection.GetTaskId(), "attempt", rejection.GetAttempt(),
				"reason", rejection.GetReason(), "message", rejection.GetMessage())
		}
		if request := frame.GetDrain(); request.GetReconnect() {
			return errMove
		} else if request != nil {
			drain(errors.New(request.GetReason()))
		}
	}
}

// write sends what there is to send, and a heartbeat at least every interval, until ctx ends or the agent has drained. It is
// the only one who sends. When that fails it leaves: who receives is told why.
func (a *Agent) write(ctx context.Context, stream registryv1.RegistryService_ConnectClient, interval time.Duration) {
	// A ticker is often late.
	beat := time.NewTicker(interval * 9 / 10)
	defer beat.Stop()
	for due := false; ; {
		if frame, fresh := a.book.next(due); frame != nil {
			err := stream.Send(frame)
			// Not before the acknowledgement is on its way: an attempt that ends this process counts as one.
			for _, t := range fresh {
				go a.execute(t)
			}
			if err != nil {
				return
			}
			due = false
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-a.book.drained.Done():
			_ = stream.CloseSend()
			return
		case <-a.book.changed:
		case <-beat.C:
			due = true
		}
	}
}

func durationOr(d *durationpb.Duration, otherwise time.Duration) time.Duration {
	if d.AsDuration() > 0 {
		return d.AsDuration()
	}
	return otherwise
}
