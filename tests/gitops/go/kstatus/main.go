// Reads {object, exprs} as JSON from standard input and writes what Flux makes of each object, one per line: by the health
// check expressions where there are any, else by kstatus.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

type question struct {
	Object json.RawMessage                   `json:"object"`
	Exprs  *kustomize.HealthCheckExpressions `json:"exprs"`
}

func main() {
	input := json.NewDecoder(os.Stdin)
	output := json.NewEncoder(os.Stdout)
	for {
		var asked question
		if err := input.Decode(&asked); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			fail(err)
		}
		answer := map[string]string{}
		if result, err := judge(asked); err != nil {
			answer["error"] = err.Error()
		} else {
			answer["status"], answer["message"] = string(result.Status), result.Message
		}
		if err := output.Encode(answer); err != nil {
			fail(err)
		}
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func judge(asked question) (*status.Result, error) {
	object := &unstructured.Unstructured{}
	// Not json.Unmarshal: this reads whole numbers as integers, which kstatus asks for.
	if err := object.UnmarshalJSON(asked.Object); err != nil {
		return nil, err
	}
	if asked.Exprs == nil {
		return status.Compute(object)
	}
	evaluator, err := cel.NewStatusEvaluator(asked.Exprs)
	if err != nil {
		return nil, err
	}
	return evaluator.Evaluate(context.Background(), object)
}
