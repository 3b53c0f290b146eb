// A client: client CAPABILITY JSON [--timeout-ms N] [--task-id ID] runs a task and prints its result. It exits with 1 if the
// task failed, 2 if the mesh refused it, 3 if the mesh could not be reached, 4 if the time was over.
package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"strings"
	"time"

	commonv1 "example.com/legion-agent/gen/legion/common/v1"
	dispatcherv1 "example.com/legion-agent/gen/legion/dispatcher/v1"
	"example.com/legion-agent/legion"
	"example.com/legion-agent/telemetry"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

const (
	exitFailed = iota + 1
	exitRefused
	exitUnreachable
	exitTimeout
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: client CAPABILITY JSON [--timeout-ms N] [--task-id ID]")
		os.Exit(exitRefused)
	}
	flags := flag.NewFlagSet("client", flag.ExitOnError)
	timeoutMS := flags.Int("timeout-ms", 60_000, "how long to wait")
	taskID := flags.String("task-id", "", "names the task; the same name with the same content is the same task")
	_ = flags.Parse(os.Args[3:])

	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(*timeoutMS)*time.Millisecond)
	defer cancel()
	sendSpans, err := telemetry.Start(ctx, "go-client")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(exitRefused)
	}
	spec := &dispatcherv1.TaskSpec{
		// What the mesh would choose, but known here: so a call that broke can be made again.
		TaskId:     cmp.Or(*taskID, rand.Text()),
		Capability: os.Args[1],
		TaskData:   &commonv1.Payload{Data: []byte(os.Args[2])},
	}
	end := legion.StartSend(ctx, spec)
	task, err := run(ctx, spec)
	end(err)
	exitCode := tell(task, err)
	// Nobody waits long for a collector that is away.
	flushing, stop := context.WithTimeout(context.Background(), 2*time.Second)
	defer stop()
	_ = sendSpans(flushing)
	os.Exit(exitCode)
}

// run submits the task and waits for its outcome, until ctx ends; where a Dispatcher cannot be reached it asks the next.
func run(ctx context.Context, spec *dispatcherv1.TaskSpec) (*dispatcherv1.Task, error) {
	dispatchers := strings.Split(cmp.Or(os.Getenv("LEGION_DISPATCHER"), "127.0.0.1:7402"), ",")
	for failures := 0; ; failures++ {
		task, err := runOnce(ctx, dispatchers[failures%len(dispatchers)], spec)
		if status.Code(err) != codes.Unavailable {
			return task, err
		}
		select {
		case <-time.After(mathrand.N(min(2*time.Second, 50*time.Millisecond<<min(failures, 10)))):
		case <-ctx.Done():
			return nil, err
		}
	}
}

func runOnce(ctx context.Context, dispatcher string, spec *dispatcherv1.TaskSpec) (*dispatcherv1.Task, error) {
	conn, err := grpc.NewClient(dispatcher, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	response, err := dispatcherv1.NewDispatcherServiceClient(conn).RunTask(ctx, &dispatcherv1.RunTaskRequest{Task: spec})
	return response.GetTask(), err
}

func tell(task *dispatcherv1.Task, err error) (exitCode int) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %s\n", cmp.Or(legion.Reason(err), status.Code(err).String()), status.Convert(err).Message())
		switch {
		case status.Code(err) == codes.Unavailable:
			return exitUnreachable
		case status.Code(err) == codes.DeadlineExceeded, errors.Is(err, context.DeadlineExceeded):
			return exitTimeout
		default:
			return exitRefused
		}
	}
	switch outcome := task.GetOutcome(); {
	case outcome.GetCompleted() != nil:
		fmt.Println(string(outcome.GetCompleted().GetResult().GetData()))
		return 0
	case outcome.GetCanceled() != nil:
		fmt.Fprintln(os.Stderr, "CANCELED:", outcome.GetCanceled().GetReason())
	default:
		fmt.Fprintf(os.Stderr, "%s: %s\n", outcome.GetFailed().GetCode(), outcome.GetFailed().GetMessage())
	}
	return exitFailed
}
