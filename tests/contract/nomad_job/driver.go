package main

import (
	"encoding/json"

	"github.com/hashicorp/hcl/v2"
	hcljson "github.com/hashicorp/hcl/v2/json"
	"github.com/hashicorp/nomad/api"
	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"
)

// settingsOf reads drivers' settings as a client does, which takes them for HCL in JSON's form
// (ParseHclInterface in Nomad's helper/pluginutils/hclutils). It knows the port of the proxy's ping
// alone, so that whatever else would be filled in is an error.
func settingsOf(job *api.Job) (map[string]any, error) {
	found := map[string]any{}
	for _, group := range job.TaskGroups {
		for _, task := range group.Tasks {
			read, err := asDriver(task.Config)
			if err != nil {
				return nil, err
			}
			found[*group.Name+"/"+task.Name] = read
		}
	}
	return found, nil
}

func asDriver(config map[string]any) (map[string]any, error) {
	text, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	file, diagnostics := hcljson.Parse(text, "config.json")
	if diagnostics.HasErrors() {
		return nil, diagnostics
	}
	attributes, diagnostics := file.Body.JustAttributes()
	if diagnostics.HasErrors() {
		return nil, diagnostics
	}
	known := &hcl.EvalContext{Variables: map[string]cty.Value{
		"NOMAD_PORT_ping": cty.StringVal("23456"),
	}}
	found := map[string]any{}
	for name, attribute := range attributes {
		value, diagnostics := attribute.Expr.Value(known)
		if diagnostics.HasErrors() {
			return nil, diagnostics
		}
		read, err := ctyjson.Marshal(value, value.Type())
		if err != nil {
			return nil, err
		}
		found[name] = json.RawMessage(read)
	}
	return found, nil
}
