// Command client is what go-spiffe, the reference client, sees of an agent. Every subcommand prints lines of JSON.
// It is given what to do by test/interop/spiffe.ts.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc/status"
)

// patience bounds every call: an answer that takes longer is a fault.
const patience = 20 * time.Second

type command func(ctx context.Context, args []string) (any, error)

var commands = map[string]command{
	"fetch":      fetch,
	"watch":      watch,
	"save":       save,
	"jwt":        jwt,
	"validate":   validate,
	"bundles":    bundles,
	"document":   document,
	"endpoint":   endpoint,
	"header":     header,
	"serve":      serve,
	"dial":       dial,
	"delegated":  delegated,
	"delegation": delegation,
}

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: client COMMAND [ARGUMENT...]; the commands are in main.go")
		os.Exit(2)
	}
	ctx := context.Background()
	// These two go on until they are ended.
	if name := os.Args[1]; name != "watch" && name != "serve" {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	result, err := commands[os.Args[1]](ctx, os.Args[2:])
	if err != nil {
		emit(failure{Error: err.Error(), Code: codeOf(err)})
		os.Exit(1)
	}
	emit(result)
}

type failure struct {
	Error string `json:"error"`
	// The gRPC status, where it was an answer of one.
	Code string `json:"code,omitempty"`
}

func codeOf(err error) string {
	if s, ok := status.FromError(err); ok {
		return s.Code().String()
	}
	return ""
}

func emit(value any) {
	if value == nil {
		return
	}
	line, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
}

func argument(args []string, index int, name string) (string, error) {
	if index < len(args) {
		return args[index], nil
	}
	return "", fmt.Errorf("the argument %s is missing", name)
}
