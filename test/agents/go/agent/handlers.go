package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"example.com/legion-agent/legion"
)

var handlers = map[string]legion.Handler{
	"echo":  echo,
	"sleep": legion.JSON(sleep),
	"fail":  legion.JSON(fail),
	"crash": legion.JSON(crash),
	"burn":  legion.JSON(burn),
	"fill":  legion.JSON(fill),
}

// The bytes themselves: no number is rounded, no key changes its place.
func echo(_ context.Context, task *legion.Task) ([]byte, error) {
	return task.Data(), nil
}

type sleepInput struct {
	MS    int `json:"ms"`
	Steps int `json:"steps"`
}

type sleepResult struct {
	Slept int `json:"slept"`
}

func sleep(ctx context.Context, task *legion.Task, in sleepInput) (sleepResult, error) {
	begun := time.Now()
	steps := max(in.Steps, 1)
	for step := 1; step <= steps; step++ {
		// Until a point in time, so that lateness does not add up.
		due := begun.Add(time.Duration(in.MS) * time.Millisecond * time.Duration(step) / time.Duration(steps))
		select {
		case <-time.After(time.Until(due)):
		case <-ctx.Done():
			return sleepResult{}, ctx.Err()
		}
		if in.Steps > 0 {
			task.Progress(float64(step)/float64(steps), fmt.Sprintf("step %d of %d", step, steps))
		}
	}
	return sleepResult{in.MS}, nil
}

type failInput struct {
	Message   string `json:"message"`
	Retryable bool   `json:"retryable"`
	Code      string `json:"code"`
}

func fail(_ context.Context, _ *legion.Task, in failInput) (struct{}, error) {
	return struct{}{}, &legion.Failure{Code: cmp.Or(in.Code, "Failed"), Message: in.Message, Retryable: in.Retryable}
}

type crashInput struct {
	Message string `json:"message"`
}

func crash(_ context.Context, _ *legion.Task, in crashInput) (struct{}, error) {
	panic(in.Message)
}

type burnInput struct {
	MS int `json:"ms"`
}

type burnResult struct {
	Burned int `json:"burned"`
}

func burn(_ context.Context, _ *legion.Task, in burnInput) (burnResult, error) {
	for begun := time.Now(); time.Since(begun) < time.Duration(in.MS)*time.Millisecond; {
	}
	return burnResult{in.MS}, nil
}

type fillInput struct {
	Bytes int `json:"bytes"`
}

type fillResult struct {
	Fill string `json:"fill"`
}

func fill(_ context.Context, _ *legion.Task, in fillInput) (fillResult, error) {
	return fillResult{strings.Repeat("x", in.Bytes)}, nil
}
