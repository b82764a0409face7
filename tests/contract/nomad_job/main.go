// Reads jobs as Nomad's own types do, from JSON and from HCL, and says where the two differ.
//
// Standard input is a JSON list of {"name", "json", "hcl"}; standard output a list of {"name",
// "problems", "job", "settings"} in the same order, where "job" is the canonical job that the JSON
// came to, and "settings" what the drivers are given.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/hashicorp/nomad/api"
)

type asked struct {
	Name string `json:"name"`
	JSON string `json:"json"`
	HCL  string `json:"hcl"`
}

type answered struct {
	Name     string          `json:"name"`
	Problems []string        `json:"problems"`
	Job      json.RawMessage `json:"job"`
	// What the driver of each task is given, once the client has filled in what it would.
	Settings map[string]any `json:"settings"`
}

func main() {
	var cases []asked
	if err := json.NewDecoder(os.Stdin).Decode(&cases); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	answers := make([]answered, 0, len(cases))
	for _, one := range cases {
		answers = append(answers, check(one))
	}
	if err := json.NewEncoder(os.Stdout).Encode(answers); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

func check(one asked) answered {
	found := answered{Name: one.Name, Problems: []string{}, Job: json.RawMessage("null")}
	say := func(format string, values ...any) {
		found.Problems = append(found.Problems, fmt.Sprintf(format, values...))
	}
	fromJSON, err := readJSON(one.JSON)
	if err != nil {
		say("JSON: %v", err)
		return found
	}
	fromJSON.Canonicalize()
	found.Job, _ = json.Marshal(fromJSON)
	if found.Settings, err = settingsOf(fromJSON); err != nil {
		say("driver: %v", err)
	}
	if one.HCL == "" {
		return found
	}
	if formatted := hclwrite.Format([]byte(one.HCL)); string(formatted) != one.HCL {
		say("HCL is formatted otherwise: %s", firstDifference(one.HCL, string(formatted)))
	}
	fromHCL, err := readHCL([]byte(one.HCL))
	if err != nil {
		say("HCL: %v", err)
		return found
	}
	moveIdentities(fromHCL)
	fromHCL.Canonicalize()
	second, _ := json.Marshal(fromHCL)
	if !bytes.Equal(found.Job, second) {
		say("JSON and HCL differ: %s", firstDifference(string(found.Job), string(second)))
	}
	return found
}

// moveIdentities makes an identity block without a name the task's own, as Nomad does when it has
// read HCL (normalizeJob in jobspec2/parse_job.go).
func moveIdentities(job *api.Job) {
	for _, group := range job.TaskGroups {
		for _, task := range group.Tasks {
			for at, identity := range task.Identities {
				if identity.Name == "" || identity.Name == "default" {
					task.Identity = identity
					task.Identities = slices.Delete(task.Identities, at, at+1)
					break
				}
			}
			if len(task.Identities) == 0 {
				task.Identities = nil
			}
		}
	}
}

func readJSON(text string) (*api.Job, error) {
	var request struct{ Job *api.Job }
	decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&request); err != nil {
		return nil, err
	}
	if request.Job == nil {
		return nil, fmt.Errorf("there is no Job")
	}
	return request.Job, nil
}

func firstDifference(one, other string) string {
	at := 0
	for at < len(one) && at < len(other) && one[at] == other[at] {
		at++
	}
	return fmt.Sprintf("%q, not %q", around(one, at), around(other, at))
}

func around(text string, at int) string {
	return text[max(0, at-60):min(len(text), at+60)]
}
