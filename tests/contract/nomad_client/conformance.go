package main

import (
	"encoding"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"github.com/hashicorp/nomad/api"
)

// sparse are the answers that leave out what is empty (the codec's tags in nomad/structs).
var sparse = []string{"allocation", "evaluation", "evaluations"}

// conformance reads answers as the official types do. A value of another type is an error; "-.NAME"
// is a field that an answer lacks, and "+.NAME" one that the types do not have.
func (s *session) conformance() (any, error) {
	live, _, err := s.client.Jobs().Allocations(*s.job.ID, false, nil)
	if err != nil {
		return nil, err
	}
	nodes, _, err := s.client.Nodes().List(nil)
	if err != nil {
		return nil, err
	}
	allocation, _, err := s.client.Allocations().Info(live[0].ID, nil)
	if err != nil {
		return nil, err
	}
	job := "/v1/job/" + *s.job.ID
	found := map[string][]string{}
	for _, one := range []struct {
		name, path string
		answer     any
	}{
		{"agent", "/v1/agent/self", &api.AgentSelf{}},
		{"members", "/v1/agent/members", &api.ServerMembers{}},
		{"allocation", "/v1/allocation/" + allocation.ID, &api.Allocation{}},
		{"allocations", "/v1/allocations?resources=true", &[]*api.AllocationListStub{}},
		{"checks", "/v1/client/allocation/" + allocation.ID + "/checks", &api.AllocCheckStatuses{}},
		{"deployment", "/v1/deployment/" + allocation.DeploymentID, &api.Deployment{}},
		{"deployments", job + "/deployments", &[]*api.Deployment{}},
		{"evaluation", "/v1/evaluation/" + allocation.EvalID, &api.Evaluation{}},
		{"evaluations", job + "/evaluations", &[]*api.Evaluation{}},
		{"job", job, &api.Job{}},
		{"job's allocations", job + "/allocations", &[]*api.AllocationListStub{}},
		{"jobs", "/v1/jobs?meta=true", &[]*api.JobListStub{}},
		{"namespace", "/v1/namespace/default", &api.Namespace{}},
		{"node", "/v1/node/" + nodes[0].ID, &api.Node{}},
		{"nodes", "/v1/nodes?resources=true", &[]*api.NodeListStub{}},
		{"scheduler", "/v1/operator/scheduler/configuration", &api.SchedulerConfigurationResponse{}},
		{"service", "/v1/service/items-web", &[]*api.ServiceRegistration{}},
		{"services", "/v1/services", &[]*api.ServiceRegistrationListStub{}},
		{"statistics", "/v1/client/allocation/" + allocation.ID + "/stats", &api.AllocResourceUsage{}},
		{"summary", job + "/summary", &api.JobSummary{}},
		{"every allocation", "/v1/allocations", &[]*api.AllocationListStub{}},
		{"every deployment", "/v1/deployments", &[]*api.Deployment{}},
		{"namespaces", "/v1/namespaces", &[]*api.Namespace{}},
		{"newest deployment", job + "/deployment", &api.Deployment{}},
		{"scale", job + "/scale", &api.JobScaleStatusResponse{}},
		{"versions", job + "/versions", &api.JobVersionsResponse{}},
		{"variable", "/v1/var/nomad/jobs/kept", &api.Variable{}},
		{"variables", "/v1/vars", &[]*api.VariableMetadata{}},
	} {
		differences, err := s.compare(one.path, one.answer)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", one.name, err)
		}
		if slices.Contains(sparse, one.name) {
			differences = slices.DeleteFunc(differences, func(name string) bool {
				return name[0] == '-' && strings.Count(name, ".") == 1
			})
		}
		found[one.name] = differences
	}
	return found, nil
}

func (s *session) compare(path string, answer any) ([]string, error) {
	body, err := s.client.Raw().Response(path, nil)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	text, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return nil, err
	}
	var plain any
	if err := json.Unmarshal(text, &plain); err != nil {
		return nil, err
	}
	differences := map[string]bool{}
	compareValue(reflect.TypeOf(answer), plain, "", differences)
	names := []string{}
	for name := range differences {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

// compareValue notes the fields that only a type or only a value has. Those that may be left out are
// not missed.
func compareValue(of reflect.Type, value any, path string, differences map[string]bool) {
	if reflect.PointerTo(of).Implements(reflect.TypeFor[json.Unmarshaler]()) ||
		reflect.PointerTo(of).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return
	}
	switch of.Kind() {
	case reflect.Pointer:
		compareValue(of.Elem(), value, path, differences)
	case reflect.Slice:
		items, _ := value.([]any)
		for _, item := range items {
			compareValue(of.Elem(), item, path, differences)
		}
	case reflect.Map:
		items, _ := value.(map[string]any)
		for _, item := range items {
			compareValue(of.Elem(), item, path+".*", differences)
		}
	case reflect.Struct:
		fields, isObject := value.(map[string]any)
		if !isObject {
			return
		}
		known := map[string]bool{}
		for _, field := range reflect.VisibleFields(of) {
			name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
			if !field.IsExported() || name == "-" || field.Anonymous || len(field.Index) > 1 {
				continue
			}
			if name == "" {
				name = field.Name
			}
			known[strings.ToLower(name)] = true
			there, exists := fields[name]
			if !exists && !strings.Contains(options, "omitempty") {
				differences["-"+path+"."+name] = true
			}
			compareValue(field.Type, there, path+"."+name, differences)
		}
		for name := range fields {
			if !known[strings.ToLower(name)] {
				differences["+"+path+"."+name] = true
			}
		}
	}
}
