// An agent with the handlers of the conformance suite.
package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	commonv1 "example.com/legion-agent/gen/legion/common/v1"
	registryv1 "example.com/legion-agent/gen/legion/registry/v1"
	"example.com/legion-agent/legion"
	"example.com/legion-agent/telemetry"
)

func main() {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: logLevel()}))
	if err := run(log); err != nil {
		log.Error("the agent ends", "why", err)
		os.Exit(1)
	}
}

func run(log *slog.Logger) error {
	chosen, err := offered(os.Getenv("CAPABILITIES"))
	if err != nil {
		return err
	}
	sendSpans, err := telemetry.Start(context.Background(), "go-example")
	if err != nil {
		return err
	}
	defer func() {
		if err := sendSpans(context.Background()); err != nil {
			log.Warn("spans could not be sent", "why", err)
		}
	}()
	agent := &legion.Agent{
		Registries: strings.Split(cmp.Or(os.Getenv("LEGION_REGISTRY"), "127.0.0.1:7401"), ","),
		Hello: &registryv1.Hello{
			AgentId: cmp.Or(os.Getenv("AGENT_ID"), "go-example"),
			Name:    "go-example",
			Version: "1.0.0",
			Slots:   4,
			Sdk:     "go/" + strings.TrimPrefix(runtime.Version(), "go"),
			Labels:  []*commonv1.Label{{Key: "language", Value: "go"}},
		},
		Handlers: chosen,
		Events:   slog.New(slog.NewJSONHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: asEvent})),
		Log:      log,
	}
	return agent.Run(untilSignal())
}

// untilSignal ends with the first SIGTERM or SIGINT. A second one ends the process.
func untilSignal() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		cancel(fmt.Errorf("signal: %s", <-signals))
		<-signals
		os.Exit(1)
	}()
	return ctx
}

// offered returns the handlers of a comma list of capabilities; all of them if it is empty.
func offered(capabilities string) (map[string]legion.Handler, error) {
	if capabilities == "" {
		return handlers, nil
	}
	chosen := map[string]legion.Handler{}
	for name := range strings.SplitSeq(capabilities, ",") {
		handler := handlers[name]
		if handler == nil {
			return nil, fmt.Errorf("there is no handler for the capability %q", name)
		}
		chosen[name] = handler
	}
	return chosen, nil
}

func logLevel() slog.Level {
	if os.Getenv("LOG") == "debug" {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// asEvent leaves of a log record what the suite reads: {"event": …} and its attributes.
func asEvent(_ []string, attr slog.Attr) slog.Attr {
	switch attr.Key {
	case slog.MessageKey:
		attr.Key = "event"
	case slog.TimeKey, slog.LevelKey:
		return slog.Attr{}
	}
	return attr
}
