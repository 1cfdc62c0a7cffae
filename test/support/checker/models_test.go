package main

import (
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

func call(operation string, from, to int64, answer told, args ...string) porcupine.Operation {
	in := asked{operation: operation, args: args}
	return porcupine.Operation{Input: in, Output: answer, Call: from, Return: to}
}

func TestHistories(t *testing.T) {
	const never = 1 << 60
	cases := []struct {
		name, model string
		legal       bool
		calls       []porcupine.Operation
	}{
		{"a read sees the write before it", "text", true, []porcupine.Operation{
			call("set", 0, 1, ok, "a"), call("get", 2, 3, text("a")),
		}},
		{"a read may not miss it", "text", false, []porcupine.Operation{
			call("set", 0, 1, ok, "a"), call("get", 2, 3, null),
		}},
		{"an unknown write may happen late", "text", true, []porcupine.Operation{
			call("set", 0, never, told{}, "a"), call("get", 2, 3, null), call("get", 4, 5, text("a")),
		}},
		{"but not be taken back", "text", false, []porcupine.Operation{
			call("set", 0, never, told{}, "a"), call("get", 2, 3, text("a")), call("get", 4, 5, null),
		}},
		{"only one of two swaps succeeds", "text", false, []porcupine.Operation{
			call("set", 0, 1, ok, "a"),
			call("cas", 2, 5, ok, "b", "a"), call("cas", 3, 6, ok, "c", "a"),
		}},
		{"a watched key that was written is not set", "text", false, []porcupine.Operation{
			call("set", 0, 1, ok, "a"), call("watchset", 2, 5, text(">OK"), "b"),
		}},
		{"fields of a hash are read together", "hash", false, []porcupine.Operation{
			call("hset", 0, 1, number(1), "a", "1"), call("hset", 2, 3, number(1), "b", "2"),
			call("hgetall", 4, 5, text("b=2")),
		}},
		{"a hash forgets a deleted field", "hash", true, []porcupine.Operation{
			call("hset", 0, 1, number(1), "a", "1"), call("hset", 2, 3, number(1), "b", "2"),
			call("hdel", 4, 5, number(1), "a"), call("hgetall", 6, 7, text("b=2")),
		}},
		{"an element is claimed once", "queue", false, []porcupine.Operation{
			call("zadd", 0, 1, number(1), "0", "m1"),
			call("zpopmin", 2, 5, text("m1")), call("zpopmin", 3, 6, text("m1")),
		}},
		{"an element may be claimed by a client that was not told", "queue", true,
			[]porcupine.Operation{
				call("zadd", 0, 1, number(1), "0", "m1"),
				call("zpopmin", 2, never, told{}), call("zpopmin", 3, 6, null),
			}},
		{"an element is not lost", "queue", false, []porcupine.Operation{
			call("zadd", 0, 1, number(1), "0", "m1"), call("zpopmin", 2, 3, null),
		}},
	}
	for _, one := range cases {
		model := modelOf(models[one.model])
		result := porcupine.CheckOperationsTimeout(model, one.calls, time.Minute)
		if (result == porcupine.Ok) != one.legal {
			t.Errorf("%s: %s", one.name, result)
		}
	}
}
