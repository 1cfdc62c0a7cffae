package main

import (
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/anishathalye/porcupine"
)

// asked is what a client asked of the one key whose history is checked.
type asked struct {
	operation string
	args      []string
}

// told is the answer. An unknown one allows everything; such a call never returns, so one that
// did not happen finds its place behind all others.
type told struct {
	known bool
	null  bool
	text  string
}

var ok = told{known: true, text: "OK"}
var null = told{known: true, null: true}

func text(value string) told { return told{known: true, text: value} }

func number(value int) told { return text(strconv.Itoa(value)) }

// apply answers what a correct store says in a state, and the state afterwards. A state is a
// text, so that states can be compared: of a string key "=" and its value, of a hash its sorted
// "field=value", of a queue its sorted "score member"; "" is a key that does not exist.
type apply func(state string, in asked) (told, string)

var models = map[string]apply{"text": applyText, "hash": applyHash, "queue": applyQueue}

func modelOf(apply apply) porcupine.Model {
	return porcupine.Model{
		Init: func() interface{} { return "" },
		Step: func(state, input, output interface{}) (bool, interface{}) {
			in, out := input.(asked), output.(told)
			if in.operation == "watchset" {
				return stepWatchSet(state.(string), in, out)
			}
			answer, next := apply(state.(string), in)
			return !out.known || answer == out, next
		},
		Equal:             func(a, b interface{}) bool { return a == b },
		DescribeOperation: describe,
		DescribeState:     func(state interface{}) string { return state.(string) },
	}
}

func describe(input, output interface{}) string {
	in, out := input.(asked), output.(told)
	answer := strconv.Quote(out.text)
	if !out.known {
		answer = "?"
	} else if out.null {
		answer = "null"
	}
	return fmt.Sprintf("%s(%s) -> %s", in.operation, strings.Join(in.args, ", "), answer)
}

// stepWatchSet is WATCH, GET, MULTI, SET, EXEC. Told "old>OK", the key held old when it was set.
// Told "old>", nothing was set, because the key was written in between, perhaps with old again.
func stepWatchSet(state string, in asked, out told) (bool, interface{}) {
	next := "=" + in.args[0]
	if !out.known {
		return true, next
	}
	old, done, _ := strings.Cut(out.text, ">")
	if done != "OK" {
		return true, state
	}
	return strings.TrimPrefix(state, "=") == old, next
}

func applyText(state string, in asked) (told, string) {
	present := null
	if state != "" {
		present = text(state[1:])
	}
	switch in.operation {
	case "get":
		return present, state
	case "set":
		return ok, "=" + in.args[0]
	case "setnx":
		if state == "" {
			return ok, "=" + in.args[0]
		}
		return null, state
	case "getset":
		return present, "=" + in.args[0]
	case "cas":
		if state == "="+in.args[1] {
			return ok, "=" + in.args[0]
		}
		return null, state
	case "del":
		if state == "" {
			return number(0), ""
		}
		return number(1), ""
	}
	panic("no operation of strings: " + in.operation)
}

func applyHash(state string, in asked) (told, string) {
	fields := split(state)
	if in.operation == "hgetall" {
		return text(state), state
	}
	prefix := in.args[0] + "="
	at := sort.SearchStrings(fields, prefix)
	present := at < len(fields) && strings.HasPrefix(fields[at], prefix)
	switch in.operation {
	case "hget":
		if !present {
			return null, state
		}
		return text(strings.TrimPrefix(fields[at], prefix)), state
	case "hset":
		if present {
			fields[at] = prefix + in.args[1]
			return number(0), strings.Join(fields, ",")
		}
		return number(1), join(append(fields, prefix+in.args[1]))
	case "hdel":
		if !present {
			return number(0), state
		}
		return number(1), strings.Join(append(fields[:at], fields[at+1:]...), ",")
	}
	panic("no operation of hashes: " + in.operation)
}

// applyQueue knows scores of one digit, so that the order of texts is the order of the queue.
func applyQueue(state string, in asked) (told, string) {
	elements := split(state)
	switch in.operation {
	case "zadd":
		return number(1), join(append(elements, in.args[0]+" "+in.args[1]))
	case "zpopmin":
		if len(elements) == 0 {
			return null, ""
		}
		return text(elements[0][2:]), strings.Join(elements[1:], ",")
	case "members":
		members := make([]string, len(elements))
		for i, element := range elements {
			members[i] = element[2:]
		}
		return text(strings.Join(members, ",")), state
	}
	panic("no operation of queues: " + in.operation)
}

func split(state string) []string {
	if state == "" {
		return nil
	}
	return strings.Split(state, ",")
}

func join(parts []string) string {
	sort.Strings(parts)
	return strings.Join(parts, ",")
}
