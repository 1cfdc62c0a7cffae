// Command checker decides whether a history of the store is linearizable.
//
//	checker -history history.jsonl -pictures report/linearizability [-limit 60s]
//
// Keys are independent of each other, so every key is checked by itself. Prints one JSON text;
// a picture of each of the first violations is written as HTML. The exit status is 0 when the
// history was read, whatever it shows.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// picturesMax bounds what is drawn: one violation explains, a hundred do not.
const picturesMax = 3

// A line of the history: a call, or the time of a fault.
type line struct {
	Client    int
	Model     string
	Key       string
	Operation string
	Args      []string
	Called    int64
	Returned  *int64
	Output    *string

	Fault    string
	From, To int64
}

type verdict struct {
	Calls      int      `json:"calls"`
	Keys       int      `json:"keys"`
	Violations []string `json:"violations"`
	Undecided  []string `json:"undecided"`
	Pictures   []string `json:"pictures"`
	SlowestMs  int64    `json:"slowestMs"`
}

func main() {
	history := flag.String("history", "", "file with one JSON text a line")
	pictures := flag.String("pictures", "", "directory for pictures of violations")
	limit := flag.Duration("limit", time.Minute, "time to decide one key")
	flag.Parse()
	if err := run(*history, *pictures, *limit); err != nil {
		fmt.Fprintln(os.Stderr, "checker:", err)
		os.Exit(1)
	}
}

func run(history, pictures string, limit time.Duration) error {
	keys, faults, err := read(history)
	if err != nil {
		return err
	}
	found := verdict{Violations: []string{}, Undecided: []string{}, Pictures: []string{}}
	names := make([]string, 0, len(keys))
	for name := range keys {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		lines := keys[name]
		found.Keys++
		found.Calls += len(lines)
		apply, known := models[lines[0].Model]
		if !known {
			return fmt.Errorf("there is no model %q", lines[0].Model)
		}
		model := modelOf(apply)
		began := time.Now()
		result, info := porcupine.CheckOperationsVerbose(model, operations(lines), limit)
		if spent := time.Since(began).Milliseconds(); spent > found.SlowestMs {
			found.SlowestMs = spent
		}
		switch result {
		case porcupine.Unknown:
			found.Undecided = append(found.Undecided, name)
		case porcupine.Illegal:
			found.Violations = append(found.Violations, name)
			if len(found.Pictures) < picturesMax && pictures != "" {
				info.AddAnnotations(annotations(faults, lines))
				path := filepath.Join(pictures, strings.ReplaceAll(name, ":", "-")+".html")
				if err := draw(model, info, path); err != nil {
					return err
				}
				found.Pictures = append(found.Pictures, path)
			}
		}
	}
	return json.NewEncoder(os.Stdout).Encode(found)
}

func read(path string) (map[string][]line, []line, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	keys := map[string][]line{}
	var faults []line
	scanner := bufio.NewScanner(file)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		var next line
		if err := json.Unmarshal(scanner.Bytes(), &next); err != nil {
			return nil, nil, err
		}
		if next.Fault != "" {
			faults = append(faults, next)
		} else {
			keys[next.Key] = append(keys[next.Key], next)
		}
	}
	return keys, faults, scanner.Err()
}

func operations(lines []line) []porcupine.Operation {
	operations := make([]porcupine.Operation, len(lines))
	for i, call := range lines {
		operation := porcupine.Operation{
			ClientId: call.Client,
			Input:    asked{operation: call.Operation, args: call.Args},
			Call:     call.Called,
			Output:   told{},
			Return:   math.MaxInt64 - 1,
		}
		if call.Returned != nil {
			answer := null
			if call.Output != nil {
				answer = text(*call.Output)
			}
			operation.Output = answer
			operation.Return = *call.Returned
		}
		operations[i] = operation
	}
	return operations
}

// annotations are the faults that were there during the calls of a key.
func annotations(faults, calls []line) []porcupine.Annotation {
	first, last := calls[0].Called, calls[0].Called
	for _, call := range calls {
		if call.Called < first {
			first = call.Called
		}
		if call.Called > last {
			last = call.Called
		}
	}
	var during []porcupine.Annotation
	for _, fault := range faults {
		if fault.To >= first && fault.From <= last {
			during = append(during, porcupine.Annotation{
				Tag:         "faults",
				Start:       fault.From,
				End:         fault.To,
				Description: fault.Fault,
			})
		}
	}
	return during
}

func draw(model porcupine.Model, info porcupine.LinearizationInfo, path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return porcupine.VisualizePath(model, info, path)
}
