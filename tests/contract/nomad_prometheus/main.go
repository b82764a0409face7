// Finds the services of a Nomad cluster as Prometheus does. The argument is the address; standard
// output is a JSON list of targets, each an object of its labels.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/nomad"
	"github.com/prometheus/prometheus/discovery/targetgroup"
)

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

func run(address string) error {
	config := nomad.DefaultSDConfig
	config.Server = address
	registry := prometheus.NewRegistry()
	refresh := discovery.NewRefreshMetrics(registry)
	if err := refresh.Register(); err != nil {
		return err
	}
	found, err := config.NewDiscoverer(discovery.DiscovererOptions{
		Logger:  slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Metrics: config.NewDiscovererMetrics(registry, refresh),
		SetName: "test",
	})
	if err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
	defer stop()
	groups := make(chan []*targetgroup.Group)
	go found.Run(ctx, groups)
	targets := []map[string]string{}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case batch := <-groups:
		for _, group := range batch {
			for _, target := range group.Targets {
				labels := map[string]string{}
				for name, value := range target {
					labels[string(name)] = string(value)
				}
				targets = append(targets, labels)
			}
		}
	}
	return json.NewEncoder(os.Stdout).Encode(targets)
}
