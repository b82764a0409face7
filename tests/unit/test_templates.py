"""Values reach a replica as they are written, unless the Swarm is asked to fill them in."""

from __future__ import annotations

import json
import re
import traceback
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError
from requests import Response

from deploytool.backends.swarm.api.client import Client
from deploytool.backends.swarm.api.tasks import read_task
from deploytool.backends.swarm.specification import compile as swarm
from deploytool.backends.swarm.specification import templates
from deploytool.errors import DeploytoolError, EngineError
from tests.builders import app, deploy, engine, image, images, service
from tests.fake_engine import FakeEngine

ACTION = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)


def filled_in(template: str) -> str:
    """What Go makes of a template in which only texts in backquotes are filled in."""

    def value(action: re.Match[str]) -> str:
        assert re.fullmatch(r"`[^`]*`", action[1]), f"{template} is no such template"
        return action[1][1:-1]

    return ACTION.sub(value, template)


@given(st.text("{}`- .x", max_size=12))
@example("{{{{")
@example("{{{ user }}} {{- .Node.Hostname -}}")
@example("sk-123{{4}x")
def test_a_literal_comes_to_what_was_written(text: str) -> None:
    assert filled_in(templates.literal(text)) == text


def container(**keys: Any) -> dict[str, Any]:
    spec = swarm.service_spec(app(service(**keys)), service(**keys), image(), None)
    found: dict[str, Any] = spec["TaskTemplate"]["ContainerSpec"]
    return found


def test_variables_and_paths_are_literal() -> None:
    found = container(env={"A": "{{ a }}"}, volumes=["/srv/{{x}}:/to/{{y}}"], read_only=False)
    assert "A={{`{{`}} a }}" in found["Env"]
    assert found["Mounts"][0] | {"ReadOnly": False} == {
        "Type": "bind",
        "Source": "/srv/{{`{{`}}x}}",
        "Target": "/to/{{`{{`}}y}}",
        "ReadOnly": False,
    }


def test_what_the_swarm_shall_fill_in_is_left_to_it() -> None:
    found = container(
        env={"NODE": "{{.Node.Hostname}}", "OTHER": "{{.Node.Hostname}}"},
        volumes=["/srv/{{.Task.Slot}}:/data"],
        templates=["env.NODE", "volumes"],
    )
    assert "NODE={{.Node.Hostname}}" in found["Env"]
    assert "OTHER={{`{{`}}.Node.Hostname}}" in found["Env"]
    assert found["Mounts"][0]["Source"] == "/srv/{{.Task.Slot}}"


@pytest.mark.parametrize("named", ["env.MISSING", "env.", "labels.x", "env"])
def test_a_template_that_names_nothing(named: str) -> None:
    with pytest.raises(ValidationError):
        service(env={"NODE": "x"}, templates=[named])


def warned(made: FakeEngine, **keys: Any) -> list[str]:
    spec = app(service(**keys))
    plan = swarm_plan(made, spec)
    return [warning for warning in plan.warnings if "as it is written" in warning]


def swarm_plan(made: FakeEngine, spec: Any) -> Any:
    from deploytool.backends.swarm.backend import Swarm

    return Swarm(made).plan(spec, images(spec))


def test_who_seems_to_want_a_template_is_told() -> None:
    env = {"NODE": "{{.Node.Hostname}}", "MAIL": "Dear {{ user }}"}
    made = engine()
    (warning,) = warned(made, env=env)
    assert 'templates = ["env.NODE"]' in warning
    assert not warned(made, env=env, templates=["env.NODE"])
    assert warned(made, volumes=["/srv/{{.Task.Slot}}:/data"])


def test_a_plan_shows_what_was_written() -> None:
    made = engine()
    deploy(made, app(service(env={"MAIL": "Dear {{ user }}"})))
    before = swarm_plan(made, app(service(env={"MAIL": "Dear {{ user }}"})))
    assert before.is_empty
    env = {"MAIL": "Hi {{ user }}", "NODE": "{{.Node.ID}}"}
    plan = swarm_plan(made, app(service(env=env, templates=["env.NODE"])))
    shown = {field.path: (field.before, field.after) for field in plan.changes[0].fields}
    assert shown == {
        "env.MAIL": ("Dear {{ user }}", "Hi {{ user }}"),
        "env.NODE": (None, "{{.Node.ID}} (filled in by the Swarm)"),
    }


VALUE = 'sk-123{{4}x "q"\né'


class Refusing:
    """An engine that refuses every service with words of its own."""

    base_url = "http+docker://localhost"
    api_version = "1.48"

    def __init__(self, words: str) -> None:
        self.words = words

    def post(self, *_: object, **__: object) -> Response:
        answer = Response()
        answer.status_code = 400
        answer._content = json.dumps({"message": self.words}).encode()
        return answer


def refused(words: str, monkeypatch: pytest.MonkeyPatch, **keys: Any) -> DeploytoolError:
    monkeypatch.setattr(Client, "_auth", lambda *_: {})
    client = Client(Refusing(words), "here")  # type: ignore[arg-type]
    spec = {"TaskTemplate": {"ContainerSpec": container(**keys)}}
    with pytest.raises(EngineError) as caught:
        client.create_service(spec)
    with pytest.raises(EngineError):
        client._update_service("id", 1, spec)
    caught.value.__notes__ = ["".join(traceback.format_exception(caught.value))]
    return caught.value


QUOTED = json.dumps(f"API_TOKEN={VALUE}", ensure_ascii=False)


@pytest.mark.parametrize(
    "words",
    [
        f"expanding env failed: expanding env {QUOTED}: template: expansion:1: unexpected "
        '"}" in operand',
        f"invalid env {QUOTED}",
        f"invalid env API_TOKEN={VALUE}",
        "invalid env " + json.dumps("API_TOKEN=" + templates.literal(VALUE), ensure_ascii=False),
    ],
)
def test_no_error_repeats_a_value_that_a_plan_hides(
    words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = refused(words, monkeypatch, env={"API_TOKEN": VALUE, "LEVEL": "info"})
    for text in (error.message, error.hint, *error.details, *error.__notes__):
        assert "sk-123" not in text
    assert "API_TOKEN" in error.message


def test_a_template_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    words = (
        'rpc error: code = InvalidArgument desc = expanding env failed: expanding env "{}": '
        'template: expansion:1: function "{}" not defined'
    )
    error = refused(words.format("NODE={{node}}", "node"), monkeypatch, env={"NODE": "{{node}}"})
    assert error.code == "template_invalid"
    assert "env.NODE" in error.message
    assert 'function "node" not defined' in error.message
    secret = {"API_TOKEN": "{{hunter2}}"}
    error = refused(words.format("API_TOKEN={{hunter2}}", "hunter2"), monkeypatch, env=secret)
    assert error.message == "The Swarm cannot fill in env.API_TOKEN"
    assert "hunter2" not in error.__notes__[0]


def test_a_path_that_is_no_template(monkeypatch: pytest.MonkeyPatch) -> None:
    words = (
        'expanding mounts failed: expanding mount source "/srv/{{nope}}": template: expansion:1: '
        'function "nope" not defined'
    )
    error = refused(words, monkeypatch)
    assert error.code == "template_invalid"
    assert 'function "nope" not defined' in error.message


def test_a_task_does_not_repeat_it_either() -> None:
    task = {
        "ID": "t",
        "Status": {"State": "rejected", "Err": "invalid env API_TOKEN=hunter2"},
        "DesiredState": "shutdown",
        "Spec": {"ContainerSpec": {"Env": ["API_TOKEN=hunter2"]}},
    }
    assert read_task(task, None, "web", {}).message == "invalid env API_TOKEN=••••••"
