package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/nomad/api"
	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"
)

var (
	durationType = reflect.TypeFor[time.Duration]()
	configType   = reflect.TypeFor[map[string]any]()
)

// readHCL reads a job file by the `hcl` tags of Nomad's types. Unknown attributes and blocks are
// errors, and so is what refers to anything: a rendered file is literal. Durations are text, and
// ports with a static number are put apart, as Nomad's jobspec2 package does.
func readHCL(text []byte) (*api.Job, error) {
	file, diagnostics := hclsyntax.ParseConfig(text, "job.hcl", hcl.InitialPos)
	if diagnostics.HasErrors() {
		return nil, diagnostics
	}
	body := file.Body.(*hclsyntax.Body)
	if len(body.Attributes) != 0 || len(body.Blocks) != 1 || body.Blocks[0].Type != "job" {
		return nil, errors.New("there is not one job")
	}
	block := body.Blocks[0]
	if len(block.Labels) != 1 {
		return nil, errors.New("job has one label")
	}
	job := &api.Job{ID: &block.Labels[0]}
	if err := decodeBody(block.Body, reflect.ValueOf(job).Elem()); err != nil {
		return nil, err
	}
	for _, group := range job.TaskGroups {
		for _, network := range group.Networks {
			putApart(network)
		}
	}
	return job, nil
}

func putApart(network *api.NetworkResource) {
	var dynamic []api.Port
	for _, port := range network.DynamicPorts {
		if port.Value > 0 {
			network.ReservedPorts = append(network.ReservedPorts, port)
		} else {
			dynamic = append(dynamic, port)
		}
	}
	network.DynamicPorts = dynamic
}

// tagged is a field of a struct and what its tag says.
type tagged struct {
	value reflect.Value
	kind  string
}

func fieldsOf(target reflect.Value) (named map[string]tagged, label *reflect.Value) {
	named = map[string]tagged{}
	for index := range target.NumField() {
		tag, isTagged := target.Type().Field(index).Tag.Lookup("hcl")
		if !isTagged {
			continue
		}
		name, kind, _ := strings.Cut(tag, ",")
		field := target.Field(index)
		if kind == "label" {
			label = &field
			continue
		}
		named[name] = tagged{field, kind}
	}
	return named, label
}

func decodeBody(body *hclsyntax.Body, target reflect.Value) error {
	named, _ := fieldsOf(target)
	for name, attribute := range body.Attributes {
		field, isKnown := named[name]
		isTable := field.kind == "block" && field.value.Kind() == reflect.Map
		if !isKnown || (field.kind == "block" && !isTable) {
			return fmt.Errorf("%s: there is no attribute %s", attribute.SrcRange, name)
		}
		if err := decodeAttribute(attribute, field.value); err != nil {
			return fmt.Errorf("%s: %s: %w", attribute.SrcRange, name, err)
		}
	}
	for _, block := range body.Blocks {
		field, isKnown := named[block.Type]
		if !isKnown || field.kind != "block" {
			return fmt.Errorf("%s: there is no block %s", block.TypeRange, block.Type)
		}
		if err := decodeBlock(block, field.value); err != nil {
			return fmt.Errorf("%s: %s: %w", block.TypeRange, block.Type, err)
		}
	}
	return nil
}

func decodeBlock(block *hclsyntax.Block, field reflect.Value) error {
	switch field.Kind() {
	case reflect.Map:
		if !field.IsNil() {
			return errors.New("it is there twice")
		}
		return decodeTable(block, field)
	case reflect.Slice:
		element := reflect.New(field.Type().Elem()).Elem()
		if err := decodeInto(block, element); err != nil {
			return err
		}
		field.Set(reflect.Append(field, element))
		return nil
	}
	if field.Kind() == reflect.Pointer && !field.IsNil() {
		return errors.New("it is there twice")
	}
	return decodeInto(block, field)
}

func decodeInto(block *hclsyntax.Block, target reflect.Value) error {
	if target.Kind() == reflect.Pointer {
		target.Set(reflect.New(target.Type().Elem()))
		target = target.Elem()
	}
	_, label := fieldsOf(target)
	switch {
	case label == nil && len(block.Labels) != 0:
		return errors.New("it has no label")
	case label != nil && len(block.Labels) != 1:
		return errors.New("it has one label")
	case label != nil && label.Kind() == reflect.Pointer:
		label.Set(reflect.ValueOf(&block.Labels[0]))
	case label != nil:
		label.SetString(block.Labels[0])
	}
	return decodeBody(block.Body, target)
}

func decodeTable(block *hclsyntax.Block, field reflect.Value) error {
	if field.Type() == configType {
		found, err := settings(block.Body)
		field.Set(reflect.ValueOf(found))
		return err
	}
	if len(block.Body.Blocks) != 0 {
		return errors.New("it has attributes only")
	}
	field.Set(reflect.MakeMap(field.Type()))
	for name, attribute := range block.Body.Attributes {
		item := reflect.New(field.Type().Elem()).Elem()
		if err := decodeAttribute(attribute, item); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		field.SetMapIndex(reflect.ValueOf(name), item)
	}
	return nil
}

// settings are a driver's, of which only the driver knows the names: blocks become lists of tables.
func settings(body *hclsyntax.Body) (map[string]any, error) {
	found := map[string]any{}
	for name, attribute := range body.Attributes {
		var item any
		if err := decodeAttribute(attribute, reflect.ValueOf(&item).Elem()); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		found[name] = item
	}
	for _, block := range body.Blocks {
		inner, err := settings(block.Body)
		if err != nil {
			return nil, err
		}
		list, _ := found[block.Type].([]any)
		found[block.Type] = append(list, inner)
	}
	return found, nil
}

func decodeAttribute(attribute *hclsyntax.Attribute, field reflect.Value) error {
	value, diagnostics := attribute.Expr.Value(nil)
	if diagnostics.HasErrors() {
		return diagnostics
	}
	kind := field.Type()
	if kind == durationType || kind == reflect.PointerTo(durationType) {
		return setDuration(value, field)
	}
	text, err := ctyjson.Marshal(value, value.Type())
	if err != nil {
		return err
	}
	return json.Unmarshal(text, field.Addr().Interface())
}

func setDuration(value cty.Value, field reflect.Value) error {
	if value.Type() != cty.String {
		return errors.New("a duration is text")
	}
	duration, err := time.ParseDuration(value.AsString())
	if err != nil {
		return err
	}
	if field.Kind() == reflect.Pointer {
		field.Set(reflect.ValueOf(&duration))
	} else {
		field.SetInt(int64(duration))
	}
	return nil
}
