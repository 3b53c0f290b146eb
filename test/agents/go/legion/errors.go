package legion

import (
	"strings"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Failure is the error of a handler that knows more than what went wrong.
type Failure struct {
	// Code is a stable word for programs. Empty means ERROR.
	Code string

	// Message is a sentence for people.
	Message string

	// Retryable says whether trying again may help.
	Retryable bool

	// CallerFault says that the input makes no sense: no mark against the agent.
	CallerFault bool
}

func (f *Failure) Error() string {
	return f.Code + ": " + f.Message
}

// canceled is the cause with which a handler's context ends when the mesh asks for that.
type canceled struct{ reason string }

func (c canceled) Error() string {
	return c.reason
}

// Reason is the stable word with which the mesh says why it refused. Empty: the error is not the mesh's.
func Reason(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

// isFinal tells that the same would be answered again; and where a newer process has our id, coming back would fence it.
func isFinal(err error) bool {
	return status.Code(err) == codes.InvalidArgument || Reason(err) == "SESSION_FENCED"
}

// text is what may stand in a string field: not valid UTF-8 cannot be sent, and a frame that cannot be sent ends the stream.
func text(s string, maxBytes int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= maxBytes {
		return s
	}
	for !utf8.RuneStart(s[maxBytes]) {
		maxBytes--
	}
	return s[:maxBytes]
}
