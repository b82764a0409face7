// Runs Prometheus' own discovery of Nomad services once, and prints its targets as JSON: a list of
// maps from label to value.
//
// Usage: nomad-prometheus ADDRESS NAMESPACE
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/nomad"
	"github.com/prometheus/prometheus/discovery/targetgroup"
)

const patience = 30 * time.Second

func main() {
	found, err := targets(os.Args[1], os.Args[2])
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(found)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// targets is what the first round of the discovery gives.
func targets(address, namespace string) ([]model.LabelSet, error) {
	settings := nomad.DefaultSDConfig
	settings.Server = address
	settings.Namespace = namespace
	registry := prometheus.NewRegistry()
	refreshing := discovery.NewRefreshMetrics(registry)
	metrics := settings.NewDiscovererMetrics(registry, refreshing)
	finder, err := settings.NewDiscoverer(discovery.DiscovererOptions{
		Logger:  slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Metrics: metrics,
		SetName: "double",
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	rounds := make(chan []*targetgroup.Group)
	go finder.Run(ctx, rounds)
	select {
	case groups := <-rounds:
		all := []model.LabelSet{}
		for _, group := range groups {
			all = append(all, group.Targets...)
		}
		return all, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("the discovery found nothing in %s", patience)
	}
}
