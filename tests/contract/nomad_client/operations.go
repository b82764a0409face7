package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/nomad/api"
)

// stream changes the job, and hears of it in every topic that there is about it.
func (s *session) stream() (any, error) {
	live, meta, err := s.client.Jobs().Info(*s.job.ID, nil)
	if err != nil {
		return nil, err
	}
	topics := map[api.Topic][]string{
		api.TopicJob: {*live.ID}, api.TopicEvaluation: {"*"},
		api.TopicDeployment: {"*"}, api.TopicAllocation: {"*"},
	}
	ctx, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	batches, err := s.client.EventStream().Stream(ctx, topics, meta.LastIndex, &api.QueryOptions{})
	if err != nil {
		return nil, err
	}
	priority := *live.Priority + 1
	live.Priority = &priority
	if _, _, err := s.client.Jobs().Register(live, nil); err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for batch := range batches {
		if batch.Err != nil {
			return nil, batch.Err
		}
		for _, event := range batch.Events {
			mine, err := isAbout(event, *live.ID)
			if err != nil {
				return nil, err
			}
			seen[string(event.Topic)] = seen[string(event.Topic)] || mine
		}
		if len(seen) == len(topics) {
			break
		}
	}
	if _, err := s.ended(4); err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(seen)), nil
}

// isAbout says whether an event is one of a job, by what the library reads out of it.
func isAbout(event api.Event, job string) (bool, error) {
	switch event.Topic {
	case api.TopicJob:
		found, err := event.Job()
		return err == nil && *found.ID == job, err
	case api.TopicEvaluation:
		found, err := event.Evaluation()
		return err == nil && found.JobID == job, err
	case api.TopicDeployment:
		found, err := event.Deployment()
		return err == nil && found.JobID == job, err
	case api.TopicAllocation:
		found, err := event.Allocation()
		return err == nil && found.JobID == job, err
	}
	return false, nil
}

// scale makes another version with one more replica.
func (s *session) scale() (any, error) {
	before, _, err := s.client.Jobs().ScaleStatus(*s.job.ID, nil)
	if err != nil {
		return nil, err
	}
	group := *s.job.TaskGroups[0].Name
	count := before.TaskGroups[group].Desired + 1
	done, _, err := s.client.Jobs().Scale(*s.job.ID, group, &count, "more", false, nil, nil)
	if err != nil {
		return nil, err
	}
	evaluation, _, err := s.client.Evaluations().Info(done.EvalID, nil)
	if err != nil {
		return nil, err
	}
	ended, err := s.ended(5)
	if err != nil {
		return nil, err
	}
	after, _, err := s.client.Jobs().ScaleStatus(*s.job.ID, nil)
	if err != nil {
		return nil, err
	}
	found := after.TaskGroups[group]
	return map[string]any{
		"because": evaluation.TriggeredBy,
		"version": ended.JobVersion,
		"counts":  []int{found.Desired, found.Placed, found.Running, found.Healthy},
	}, nil
}

// tasks restarts a task and sends it a signal.
func (s *session) tasks() (any, error) {
	found, err := s.running()
	if err != nil {
		return nil, err
	}
	if err := s.client.Allocations().Restart(found, found.TaskGroup, nil); err != nil {
		return nil, err
	}
	if err := s.client.Allocations().Signal(found, nil, found.TaskGroup, "SIGHUP"); err != nil {
		return nil, err
	}
	missing := s.client.Allocations().Restart(&api.Allocation{ID: "nothing"}, "", nil)
	after, _, err := s.client.Allocations().Info(found.ID, nil)
	if err != nil {
		return nil, err
	}
	state := after.TaskStates[found.TaskGroup]
	kinds := []string{}
	for _, event := range state.Events {
		kinds = append(kinds, event.Type)
	}
	last := state.Events[len(state.Events)-1]
	return map[string]any{
		"restarts": state.Restarts,
		"events":   kinds,
		"last":     []string{last.DisplayMessage, last.Details["signal"]},
		"missing":  []any{status(missing), body(missing)},
	}, nil
}

// stop takes an allocation away, for which another comes.
func (s *session) stop() (any, error) {
	found, err := s.running()
	if err != nil {
		return nil, err
	}
	done, err := s.client.Allocations().Stop(found, nil)
	if err != nil {
		return nil, err
	}
	evaluation, _, err := s.client.Evaluations().Info(done.EvalID, nil)
	if err != nil {
		return nil, err
	}
	placed, _, err := s.client.Evaluations().Allocations(done.EvalID, nil)
	if err != nil {
		return nil, err
	}
	stopped, _, err := s.client.Allocations().Info(found.ID, nil)
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"because": evaluation.TriggeredBy,
		"desired": stopped.DesiredStatus,
		"name":    len(placed) == 1 && placed[0].Name == found.Name,
	}, nil
}

// pause halts a deployment that waits for a promotion, lets it go on, and fails it. Nothing can be
// scaled meanwhile.
func (s *session) pause() (any, error) {
	live, _, err := s.client.Jobs().Info(*s.job.ID, nil)
	if err != nil {
		return nil, err
	}
	live.TaskGroups[0].Update.AutoPromote = new(bool)
	for _, task := range live.TaskGroups[0].Tasks {
		task.Env = map[string]string{"PAUSED": "by hand"}
	}
	before := *live.Version
	if _, _, err := s.client.Jobs().Register(live, nil); err != nil {
		return nil, err
	}
	found, _, err := s.client.Jobs().LatestDeployment(*s.job.ID, nil)
	if err != nil {
		return nil, err
	}
	count := 1
	_, _, blocked := s.client.Jobs().Scale(*s.job.ID, *s.job.TaskGroups[0].Name, &count, "", false, nil, nil)
	said := []string{}
	for _, halt := range []bool{true, false} {
		if _, _, err := s.client.Deployments().Pause(found.ID, halt, nil); err != nil {
			return nil, err
		}
		now, _, err := s.client.Deployments().Info(found.ID, nil)
		if err != nil {
			return nil, err
		}
		said = append(said, now.Status)
	}
	failed, _, err := s.client.Deployments().Fail(found.ID, nil)
	if err != nil {
		return nil, err
	}
	_, _, again := s.client.Deployments().Fail(found.ID, nil)
	_, _, missing := s.client.Deployments().Fail("nothing", nil)
	return map[string]any{
		"said":     said,
		"scale":    []any{status(blocked), body(blocked)},
		"reverted": failed.RevertedJobVersion != nil && *failed.RevertedJobVersion == before,
		"again":    []any{status(again), body(again)},
		"missing":  []any{status(missing), body(missing)},
	}, nil
}

// eligibility closes a node for new allocations, and opens it.
func (s *session) eligibility() (any, error) {
	nodes, _, err := s.client.Nodes().List(nil)
	if err != nil {
		return nil, err
	}
	said := []string{}
	for _, open := range []bool{false, true} {
		done, err := s.client.Nodes().ToggleEligibility(nodes[0].ID, open, nil)
		if err != nil {
			return nil, err
		}
		found, meta, err := s.client.Nodes().Info(nodes[0].ID, nil)
		if err != nil {
			return nil, err
		}
		if done.NodeModifyIndex != meta.LastIndex {
			return nil, errors.New("the node has another index")
		}
		said = append(said, found.SchedulingEligibility)
	}
	held, _, err := s.client.Nodes().Allocations(nodes[0].ID, nil)
	if err != nil {
		return nil, err
	}
	drain := &api.DrainSpec{Deadline: time.Minute}
	_, err = s.client.Nodes().UpdateDrain(nodes[0].ID, drain, false, nil)
	return map[string]any{"said": said, "holds": len(held) > 0, "drain": status(err)}, nil
}

// locks holds a variable against somebody else.
func (s *session) locks() (any, error) {
	vars := s.client.Variables()
	path := "deploytool/held"
	ask := func() *api.Variable {
		return &api.Variable{
			Path:  path,
			Items: api.VariableItems{"by": "me"},
			Lock:  &api.VariableLock{TTL: "20s", LockDelay: "10s"},
		}
	}
	held, _, err := vars.AcquireLock(ask(), nil)
	if err != nil {
		return nil, err
	}
	_, _, second := vars.AcquireLock(ask(), nil)
	short := ask()
	short.Path, short.Lock.TTL = "deploytool/short", "1s"
	_, _, brief := vars.AcquireLock(short, nil)
	_, _, foreign := vars.Update(&api.Variable{Path: path, Items: api.VariableItems{"by": "you"}}, nil)
	own := &api.Variable{Path: path, Items: api.VariableItems{"by": "still me"}}
	own.Lock = &api.VariableLock{ID: held.LockID()}
	if _, _, err := vars.Update(own, nil); err != nil {
		return nil, err
	}
	renewed, _, err := vars.RenewLock(own, nil)
	if err != nil {
		return nil, err
	}
	wrong := &api.Variable{Path: path, Lock: &api.VariableLock{ID: "wrong"}}
	_, _, late := vars.RenewLock(wrong, nil)
	missing := &api.Variable{Path: "deploytool/none", Lock: &api.VariableLock{ID: "wrong"}}
	_, _, none := vars.RenewLock(missing, nil)
	released, _, err := vars.ReleaseLock(own, nil)
	if err != nil {
		return nil, err
	}
	_, _, unlocked := vars.RenewLock(own, nil)
	read, _, err := vars.Read(path, nil)
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"lock":     []string{held.Lock.TTL, held.Lock.LockDelay},
		"second":   status(second),
		"short":    []any{status(brief), body(brief)},
		"foreign":  status(foreign),
		"renewed":  renewed.Lock.ID == held.LockID(),
		"late":     []any{status(late), body(late)},
		"none":     []any{status(none), body(none)},
		"released": released.Lock == nil,
		"unlocked": []any{status(unlocked), body(unlocked)},
		"items":    read.Items,
	}, nil
}

func (s *session) lists() (any, error) {
	spaces, _, err := s.client.Namespaces().List(nil)
	if err != nil {
		return nil, err
	}
	names := []string{}
	for _, space := range spaces {
		names = append(names, space.Name)
	}
	slices.Sort(names)
	peers, err := s.client.Status().Peers()
	if err != nil {
		return nil, err
	}
	regions, err := s.client.Regions().List()
	if err != nil {
		return nil, err
	}
	_, _, off := s.client.ACLTokens().Self(nil)
	return map[string]any{
		"namespaces": names,
		"peers":      peers,
		"regions":    regions,
		"acl":        []any{status(off), body(off)},
	}, nil
}

// tokens asks a server with ACLs with the right token, with another one, and without any.
func tokens(address, secret string) (any, error) {
	found := map[string]any{}
	for name, given := range map[string]string{"known": secret, "unknown": "other", "none": ""} {
		client, err := api.NewClient(&api.Config{Address: address, SecretID: given})
		if err != nil {
			return nil, err
		}
		own, _, self := client.ACLTokens().Self(nil)
		_, _, list := client.Jobs().List(nil)
		_, leader := client.Status().Leader()
		one := map[string]any{
			"self":   []any{status(self), body(self)},
			"jobs":   []any{status(list), body(list)},
			"leader": status(leader),
		}
		if self == nil {
			one["name"], one["type"], one["policies"] = own.Name, own.Type, own.Policies
		}
		found[name] = one
	}
	return found, nil
}
