// Command etcdput writes small values to etcd from many clients at once and prints one
// JSON line: what redis-benchmark does for a Redis, with etcd's own client library.
//
//	etcdput -endpoint 10.77.0.91:2379 -clients 64 -total 100000
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// putTimeout bounds one put, so that a lost leader ends the run instead of hanging it.
const putTimeout = 5 * time.Second

// connections carry the clients: gRPC multiplexes, and one connection would be a bottleneck.
const connections = 8

type result struct {
	Puts      int     `json:"puts"`
	Failed    int64   `json:"failed"`
	PerSecond float64 `json:"perSecond"`
	P50Ms     float64 `json:"p50Ms"`
	P99Ms     float64 `json:"p99Ms"`
}

func main() {
	endpoint := flag.String("endpoint", "127.0.0.1:2379", "client address of the leading member")
	clients := flag.Int("clients", 64, "puts in flight")
	total := flag.Int("total", 100000, "puts altogether")
	flag.Parse()
	answer, err := run(*endpoint, *clients, *total)
	if err != nil {
		fmt.Fprintln(os.Stderr, "etcdput:", err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(answer); err != nil {
		os.Exit(1)
	}
}

func run(endpoint string, clients, total int) (result, error) {
	var pool []*clientv3.Client
	for range connections {
		client, err := clientv3.New(clientv3.Config{
			Endpoints:   []string{endpoint},
			DialTimeout: putTimeout,
		})
		if err != nil {
			return result{}, err
		}
		defer client.Close()
		pool = append(pool, client)
	}
	var next, failed atomic.Int64
	took := make([]time.Duration, total)
	var wait sync.WaitGroup
	startedAt := time.Now()
	for number := range clients {
		wait.Go(func() {
			client := pool[number%connections]
			for {
				index := int(next.Add(1)) - 1
				if index >= total {
					return
				}
				before := time.Now()
				if !put(client, index) {
					failed.Add(1)
				}
				took[index] = time.Since(before)
			}
		})
	}
	wait.Wait()
	elapsed := time.Since(startedAt).Seconds()
	slices.Sort(took)
	at := func(share float64) float64 {
		return float64(took[int(share*float64(total-1))].Microseconds()) / 1000
	}
	return result{total, failed.Load(), float64(total) / elapsed, at(0.5), at(0.99)}, nil
}

// put writes three bytes under one of 100,000 keys, the shape redis-benchmark uses.
func put(client *clientv3.Client, index int) bool {
	ctx, cancel := context.WithTimeout(context.Background(), putTimeout)
	defer cancel()
	_, err := client.Put(ctx, fmt.Sprintf("key:%012d", index%100000), "xxx")
	return err == nil
}
