// Drives a Nomad API with Nomad's own client library, and says what it found.
//
// The arguments are the address, and a file with a job as JSON, as {"Job": …}. Standard output is a
// JSON object: the name of each step → what it found, or {"error": …}. With "tokens" and a secret
// after the address, it says what a server with ACLs answers to that, to another one and to none.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/nomad/api"
)

const patience = 30 * time.Second

type session struct {
	client *api.Client
	job    *api.Job
	found  map[string]any
}

func main() {
	address, file := os.Args[1], os.Args[2]
	if file == "tokens" {
		found, err := tokens(address, os.Args[3])
		fatal(err)
		fatal(json.NewEncoder(os.Stdout).Encode(found))
		return
	}
	client, err := api.NewClient(&api.Config{Address: address})
	fatal(err)
	text, err := os.ReadFile(file)
	fatal(err)
	var submitted struct{ Job *api.Job }
	fatal(json.Unmarshal(text, &submitted))
	s := &session{client, submitted.Job, map[string]any{}}
	for _, step := range []struct {
		name string
		do   func() (any, error)
	}{
		{"server", s.server},
		{"variables", s.variables},
		{"events", s.events},
		{"plan", s.plan},
		{"register", s.register},
		{"enforced", s.enforced},
		{"deployment", s.deployment},
		{"blocking", s.blocking},
		{"allocation", s.allocation},
		{"logs", s.logs},
		{"exec", s.exec},
		{"catalogue", s.catalogue},
		{"promotion", s.promotion},
		{"versions", s.versions},
		{"conformance", s.conformance},
		{"revert", s.revert},
		{"stream", s.stream},
		{"scale", s.scale},
		{"tasks", s.tasks},
		{"stop", s.stop},
		{"pause", s.pause},
		{"nodes", s.nodes},
		{"eligibility", s.eligibility},
		{"locks", s.locks},
		{"lists", s.lists},
		{"unknown", s.unknown},
		{"deregister", s.deregister},
	} {
		value, err := step.do()
		if err != nil {
			value = map[string]string{"error": err.Error()}
		}
		s.found[step.name] = value
	}
	fatal(json.NewEncoder(os.Stdout).Encode(s.found))
}

func fatal(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

func (s *session) server() (any, error) {
	leader, err := s.client.Status().Leader()
	if err != nil {
		return nil, err
	}
	agent, err := s.client.Agent().Self()
	if err != nil {
		return nil, err
	}
	scheduler, _, err := s.client.Operator().SchedulerGetConfiguration(nil)
	if err != nil {
		return nil, err
	}
	namespace, _, err := s.client.Namespaces().Info("default", nil)
	if err != nil {
		return nil, err
	}
	_, _, missing := s.client.Namespaces().Info("nowhere", nil)
	version := agent.Config["Version"].(map[string]any)["Version"]
	return map[string]any{
		"leader":           leader,
		"version":          version,
		"oversubscription": scheduler.SchedulerConfig.MemoryOversubscriptionEnabled,
		"namespace":        namespace.Name,
		"missing":          status(missing),
	}, nil
}

func (s *session) variables() (any, error) {
	vars := s.client.Variables()
	path := "nomad/jobs/" + *s.job.ID
	made, _, err := vars.CheckedCreate(&api.Variable{Path: path, Items: api.VariableItems{"A": "1"}}, nil)
	if err != nil {
		return nil, err
	}
	_, _, again := vars.CheckedCreate(&api.Variable{Path: path, Items: api.VariableItems{"A": "2"}}, nil)
	var conflict api.ErrCASConflict
	isConflict := errors.As(again, &conflict)
	made.Items["B"] = "2"
	changed, _, err := vars.CheckedUpdate(made, nil)
	if err != nil {
		return nil, err
	}
	read, _, err := vars.Read(path, nil)
	if err != nil {
		return nil, err
	}
	listed, _, err := vars.PrefixList("nomad/jobs/", nil)
	if err != nil {
		return nil, err
	}
	_, stale := vars.CheckedDelete(path, made.ModifyIndex, nil)
	if _, err := vars.CheckedDelete(path, changed.ModifyIndex, nil); err != nil {
		return nil, err
	}
	_, _, gone := vars.Read(path, nil)
	there := ""
	if isConflict && conflict.Conflict != nil {
		there = conflict.Conflict.Items["A"]
	}
	return map[string]any{
		"conflict": isConflict,
		"there":    there,
		"items":    read.Items,
		"listed":   len(listed),
		"stale":    errors.As(stale, &conflict),
		"gone":     errors.Is(gone, api.ErrVariablePathNotFound),
	}, nil
}

// events begins to listen; what came is told by the deployment's step.
func (s *session) events() (any, error) {
	topics := map[api.Topic][]string{api.TopicAll: {"*"}}
	ctx, stop := context.WithTimeout(context.Background(), patience)
	stream, err := s.client.EventStream().Stream(ctx, topics, 0, nil)
	if err != nil {
		stop()
		return nil, err
	}
	kinds := make(chan []string, 1)
	go func() {
		defer stop()
		seen := map[string]bool{}
		for batch := range stream {
			if batch.Err != nil {
				break
			}
			for _, event := range batch.Events {
				seen[string(event.Topic)+" "+event.Type] = true
				if service, err := event.Service(); err == nil && service != nil {
					stop()
				}
			}
		}
		found := []string{}
		for kind := range seen {
			found = append(found, kind)
		}
		slices.Sort(found)
		kinds <- found
	}()
	s.found["events of the deployment"] = kinds
	return "listening", nil
}

func (s *session) plan() (any, error) {
	planned, _, err := s.client.Jobs().Plan(s.job, true, nil)
	if err != nil {
		return nil, err
	}
	places := map[string]uint64{}
	for name, update := range planned.Annotations.DesiredTGUpdates {
		places[name] = update.Place
	}
	return map[string]any{"diff": planned.Diff.Type, "places": places, "index": planned.JobModifyIndex}, nil
}

func (s *session) register() (any, error) {
	done, _, err := s.client.Jobs().EnforceRegister(s.job, 0, nil)
	if err != nil {
		return nil, err
	}
	evaluation, _, err := s.client.Evaluations().Info(done.EvalID, nil)
	if err != nil {
		return nil, err
	}
	return map[string]any{"status": evaluation.Status, "job": evaluation.JobID}, nil
}

func (s *session) enforced() (any, error) {
	_, _, err := s.client.Jobs().EnforceRegister(s.job, 0, nil)
	return map[string]any{"status": status(err), "body": body(err)}, nil
}

func (s *session) ended(after uint64) (*api.Deployment, error) {
	deadline := time.Now().Add(patience)
	options := &api.QueryOptions{WaitTime: time.Second}
	for time.Now().Before(deadline) {
		found, meta, err := s.client.Jobs().LatestDeployment(*s.job.ID, options)
		if err != nil {
			return nil, err
		}
		if found != nil && found.JobVersion >= after && found.Status != "running" {
			return found, nil
		}
		options.WaitIndex = meta.LastIndex
	}
	return nil, errors.New("the deployment did not end")
}

func (s *session) deployment() (any, error) {
	ended, err := s.ended(0)
	if err != nil {
		return nil, err
	}
	byID, _, err := s.client.Deployments().Info(ended.ID, nil)
	if err != nil {
		return nil, err
	}
	of, _, err := s.client.Deployments().Allocations(ended.ID, nil)
	if err != nil {
		return nil, err
	}
	kinds := s.found["events of the deployment"].(chan []string)
	s.found["events of the deployment"] = <-kinds
	summary, _, err := s.client.Jobs().Summary(*s.job.ID, nil)
	if err != nil {
		return nil, err
	}
	running := 0
	for _, group := range summary.Summary {
		running += group.Running
	}
	return map[string]any{
		"status":      byID.Status,
		"description": byID.StatusDescription,
		"allocations": len(of),
		"running":     running,
	}, nil
}

// blocking waits for the next change of the job, which it makes itself meanwhile.
func (s *session) blocking() (any, error) {
	before, meta, err := s.client.Jobs().Info(*s.job.ID, nil)
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	options := &api.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: 100 * time.Millisecond}
	if _, _, err := s.client.Jobs().Info(*s.job.ID, options); err != nil {
		return nil, err
	}
	waited := time.Since(begin) >= 100*time.Millisecond
	go func() {
		changed := *before
		changed.Priority = new(int)
		*changed.Priority = 70
		_, _, _ = s.client.Jobs().EnforceRegister(&changed, *before.JobModifyIndex, nil)
	}()
	options.WaitTime = patience
	after, _, err := s.client.Jobs().Info(*s.job.ID, options)
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"waited":  waited,
		"woken":   time.Since(begin) < patience,
		"version": *after.Version - *before.Version,
	}, nil
}

func (s *session) running() (*api.Allocation, error) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		listed, _, err := s.client.Jobs().Allocations(*s.job.ID, false, nil)
		if err != nil {
			return nil, err
		}
		for _, stub := range listed {
			status := stub.DeploymentStatus
			isHealthy := status != nil && status.Healthy != nil && *status.Healthy
			if stub.ClientStatus == "running" && stub.DesiredStatus == "run" && isHealthy {
				found, _, err := s.client.Allocations().Info(stub.ID, nil)
				return found, err
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil, errors.New("nothing runs")
}

func (s *session) allocation() (any, error) {
	found, err := s.running()
	if err != nil {
		return nil, err
	}
	stats, err := s.client.Allocations().Stats(found, nil)
	if err != nil {
		return nil, err
	}
	checks, err := s.client.Allocations().Checks(found.ID, nil)
	if err != nil {
		return nil, err
	}
	kinds := []string{}
	for _, task := range found.TaskStates {
		for _, event := range task.Events {
			kinds = append(kinds, event.Type)
		}
	}
	return map[string]any{
		"group":   found.TaskGroup,
		"job":     *found.Job.ID,
		"events":  kinds,
		"healthy": found.DeploymentStatus != nil && *found.DeploymentStatus.Healthy,
		"memory":  stats.ResourceUsage.MemoryStats.Usage > 0,
		"checks":  len(checks),
	}, nil
}

func (s *session) logs() (any, error) {
	found, err := s.running()
	if err != nil {
		return nil, err
	}
	cancel := make(chan struct{})
	defer close(cancel)
	frames, failures := s.client.AllocFS().Logs(found, false, found.TaskGroup, "stdout", "start", 0, cancel, nil)
	text := ""
	for frames != nil {
		select {
		case frame, open := <-frames:
			if !open {
				frames = nil
			} else {
				text += string(frame.Data)
			}
		case err := <-failures:
			if err != nil && !errors.Is(err, io.EOF) {
				return nil, err
			}
			frames = nil
		}
	}
	return text, nil
}

func (s *session) exec() (any, error) {
	found, err := s.running()
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	var out, complaints bytes.Buffer
	command := []string{"sh", "-c", "cat; echo bad >&2; exit 3"}
	sizes := make(chan api.TerminalSize)
	code, err := s.client.Allocations().Exec(
		ctx, found, found.TaskGroup, false, command,
		strings.NewReader("given"), &out, &complaints, sizes, nil,
	)
	if err != nil {
		return nil, err
	}
	return map[string]any{"code": code, "out": out.String(), "complaints": complaints.String()}, nil
}

func (s *session) catalogue() (any, error) {
	listed, _, err := s.client.Services().List(nil)
	if err != nil {
		return nil, err
	}
	names := []string{}
	for _, space := range listed {
		for _, service := range space.Services {
			names = append(names, service.ServiceName)
		}
	}
	slices.Sort(names)
	filtered := &api.QueryOptions{Filter: `Tags contains "traefik.enable=true"`}
	found, _, err := s.client.Services().Get(names[0], filtered)
	if err != nil {
		return nil, err
	}
	ports := true
	for _, one := range found {
		ports = ports && one.Port > 0 && one.Address != ""
	}
	return map[string]any{"names": names, "instances": len(found), "ports": ports}, nil
}

// promotion registers the job with canaries that wait for somebody to promote them.
func (s *session) promotion() (any, error) {
	live, _, err := s.client.Jobs().Info(*s.job.ID, nil)
	if err != nil {
		return nil, err
	}
	for _, group := range live.TaskGroups {
		group.Update.AutoPromote = new(bool)
		for _, task := range group.Tasks {
			task.Env = map[string]string{"PROMOTED": "by hand"}
		}
	}
	if _, _, err := s.client.Jobs().Register(live, nil); err != nil {
		return nil, err
	}
	deadline := time.Now().Add(patience)
	early := -1
	for time.Now().Before(deadline) {
		found, _, err := s.client.Jobs().LatestDeployment(*s.job.ID, nil)
		if err != nil {
			return nil, err
		}
		_, _, err = s.client.Deployments().PromoteAll(found.ID, nil)
		if err == nil {
			ended, err := s.ended(found.JobVersion)
			if err != nil {
				return nil, err
			}
			return map[string]any{"early": early, "status": ended.Status}, nil
		}
		early = status(err)
		time.Sleep(20 * time.Millisecond)
	}
	return nil, errors.New("the canaries were never promoted")
}

func (s *session) versions() (any, error) {
	versions, _, _, err := s.client.Jobs().Versions(*s.job.ID, false, nil)
	if err != nil {
		return nil, err
	}
	numbers := []uint64{}
	for _, one := range versions {
		numbers = append(numbers, *one.Version)
	}
	return numbers, nil
}

func (s *session) revert() (any, error) {
	_, _, current := s.client.Jobs().Revert(*s.job.ID, 2, nil, nil, "", "")
	if _, _, err := s.client.Jobs().Revert(*s.job.ID, 0, nil, nil, "", ""); err != nil {
		return nil, err
	}
	ended, err := s.ended(3)
	if err != nil {
		return nil, err
	}
	return map[string]any{"current": status(current), "version": ended.JobVersion, "status": ended.Status}, nil
}

func (s *session) nodes() (any, error) {
	listed, _, err := s.client.Nodes().List(&api.QueryOptions{Params: map[string]string{"resources": "true"}})
	if err != nil {
		return nil, err
	}
	found, _, err := s.client.Nodes().Info(listed[0].ID, nil)
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"status": found.Status,
		"docker": found.Drivers["docker"].Healthy,
		"memory": listed[0].NodeResources.Memory.MemoryMB > 0,
	}, nil
}

func (s *session) unknown() (any, error) {
	_, _, err := s.client.CSIVolumes().List(nil)
	return map[string]any{"status": status(err), "gc": status(s.client.System().GarbageCollect())}, nil
}

func (s *session) deregister() (any, error) {
	if _, _, err := s.client.Jobs().Deregister(*s.job.ID, true, nil); err != nil {
		return nil, err
	}
	_, _, gone := s.client.Jobs().Info(*s.job.ID, nil)
	return map[string]any{"status": status(gone), "body": body(gone)}, nil
}

func status(err error) int {
	var refused api.UnexpectedResponseError
	if errors.As(err, &refused) {
		return refused.StatusCode()
	}
	return 0
}

func body(err error) string {
	var refused api.UnexpectedResponseError
	if errors.As(err, &refused) {
		return refused.Body()
	}
	return ""
}
