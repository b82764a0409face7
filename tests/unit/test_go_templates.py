"""What is told of templates is what Go's text/template says of them."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deploytool.backends import go_templates
from deploytool.backends.swarm.specification import templates
from deploytool.backends.swarm.specification.refused import FIELDS, FUNCTIONS


def told(text: str) -> str:
    return go_templates.problem(text, fields=FIELDS, functions=FUNCTIONS)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{ } }}",
        "{{.Node.Hostname}}-{{ .Task.Slot }}",
        "a {{- .Node.Platform.OS -}} b",
        '{{index .Service.Labels "a.b"}}',
        '{{if eq .Node.ID "}}"}}x{{else if .Task.ID}}y{{else}}z{{end}}',
        "{{with .Node}}{{.ID}}{{.Foo}}{{end}}",
        "{{range $name, $value := .Service.Labels}}{{$value}}{{end}}",
        '{{define "a"}}{{.X}}{{end}}{{template "a" .Node.ID}}',
        '{{ (join "," .Node.ID `{{`) | printf "%q" }}',
        "{{/* .Foo */}}{{- /* {{ */ -}}",
        "{{$x := 1.5e+3}}{{$x}}{{'c'}}{{-1}}{{.}}{{nil | not}}",
    ],
)
def test_templates(text: str) -> None:
    assert told(text) == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ab{{.Foo", "what {{ opens at character 3 is not closed, or nothing that Go reads"),
        ("{{.Node.ID}", "what {{ opens at character 1 is not closed, or nothing that Go reads"),
        ("{{ {{ }}", "what {{ opens at character 1 is not closed, or nothing that Go reads"),
        ("{{!}}", "what {{ opens at character 1 is not closed, or nothing that Go reads"),
        ('{{"a}}', "what {{ opens at character 1 is not closed, or nothing that Go reads"),
        ("{{.Node.ID-}}", "what {{ opens at character 1 is not closed, or nothing that Go reads"),
        ("{{ }}", "{{}} has no value in it"),
        ("{{(print 1}}", "a parenthesis is not closed"),
        ("{{end}}", "{{end}} stands for itself"),
        ("{{if .Node.ID}}x", "{{if}} has no {{end}}"),
        (
            "{{.Node.Foo}}",
            "it has a field that is none of .Node.ID, .Node.Hostname, .Node.Platform",
        ),
        ("{{.Foo}}", "it has a field that is none of .Service, .Node, .Task"),
        ("{{with 1}}{{$.Foo}}{{end}}", "it has a field that is none of .Service, .Node, .Task"),
        ("{{.Service.Labels.a}}", ".Service.Labels has no fields"),
        ("{{Node.ID}}", "it calls what is none of its functions: and, call, eq, "),
    ],
)
def test_what_go_refuses(text: str, message: str) -> None:
    assert told(text).startswith(message)


def test_functions_and_fields_that_nobody_knows() -> None:
    text = '{{ with secret "a" }}{{ .Data.b }}{{ end }}{{ .c }}{{ scratch.Get "d" }}'
    assert go_templates.problem(text) == ""


@given(st.text("{}`- .x", max_size=12))
@example("{{{{")
def test_what_is_literal_is_always_right(text: str) -> None:
    assert told(templates.literal(text)) == ""


@given(st.text("{}()\"`'.$|-=:/*aé1 \n", max_size=20).map("{{{}".format))
@example("{{" + "a" * 50_000)
@example("{{" + "1+" * 20_000)
def test_any_text_is_told_of_in_no_time(text: str) -> None:
    assert isinstance(told(text), str)
