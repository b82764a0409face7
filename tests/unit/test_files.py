"""Configuration files: from the project's folder to what a replica reads."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deploytool import config
from deploytool.backends.model import Action, Plan
from deploytool.backends.swarm.backend import Swarm
from deploytool.backends.swarm.specification import compile as swarm
from deploytool.backends.swarm.specification import labels, stack
from deploytool.backends.swarm.specification.scripts import BY_TARGET
from deploytool.config.loading import LARGEST_FILE
from deploytool.errors import ConfigError, EngineError, PlanError
from deploytool.spec import AppSpec, Service
from tests.builders import app, digests, engine, images, maximal_app, release, service, worker
from tests.fake_engine import FakeEngine
from tests.strategies import names, quick

PATH = "config/web.yml"
TARGET = "/code/config.yml"
OLD, NEW = {PATH: b"a: 1\n"}, {PATH: b"a: 2\n"}


def with_files(files: Mapping[str, bytes] = OLD, *others: Service, **keys: Any) -> AppSpec:
    return app(service(files={TARGET: PATH}, **keys), *others, files=digests(files))


def plan(made: FakeEngine, files: Mapping[str, bytes], *others: Service) -> Plan:
    spec = with_files(files, *others)
    return Swarm(made).plan(spec, images(spec), files=files)


def deploy(made: FakeEngine, files: Mapping[str, bytes], *others: Service) -> Plan:
    found = plan(made, files, *others)
    Swarm(made).rollout(found).start(release(with_files(files, *others)))
    return found


SCRIPTS = {script.path for script in BY_TARGET.values()}


def mounted(made: FakeEngine, name: str = "items_web") -> list[dict[str, Any]]:
    container = made.service(name)["Spec"]["TaskTemplate"]["ContainerSpec"]
    return list(container.get("Configs", ()))


def own_configs(made: FakeEngine) -> list[dict[str, Any]]:
    """The configs of files of the project, and not of scripts that replicas run."""
    found = made.configs(label=labels.FILE)
    return [c for c in found if c["Spec"]["Labels"][labels.FILE] not in SCRIPTS]


def write(folder: Path, content: bytes | None = b"a: 1\n", path: str = PATH) -> None:
    toml = f'app = "items"\n[services.web]\ncommand = ["x"]\nfiles = {{ "{TARGET}" = "{path}" }}\n'
    (folder / "deploytool.toml").write_text(toml)
    if content is not None:
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(content)


def load(folder: Path) -> config.LoadedConfig:
    return config.load(folder, environ={})


def test_the_spec_knows_the_content_by_its_hash(tmp_path: Path) -> None:
    write(tmp_path, b"a: 1\n")
    loaded = load(tmp_path)
    assert loaded.files == OLD
    spec = loaded.app_spec()
    assert spec.files == digests(OLD)
    assert "a: 1" not in spec.model_dump_json()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "does not exist"),
        (b"", "is empty"),
        (b"x" * LARGEST_FILE, "is too large"),
    ],
)
def test_what_no_cluster_takes_is_told_with_its_path(
    content: bytes | None, words: str, tmp_path: Path
) -> None:
    write(tmp_path, content)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path).app_spec()
    (detail,) = caught.value.details
    assert detail.startswith(f'services.web.files."{TARGET}": {PATH} {words}')


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    write(tmp_path, None, "config")
    (tmp_path / "config").mkdir()
    with pytest.raises(ConfigError) as caught:
        load(tmp_path).app_spec()
    assert "cannot be read: Is a directory" in caught.value.details[0]


def test_what_needs_no_app_does_not_read_them(tmp_path: Path) -> None:
    write(tmp_path, None)
    assert load(tmp_path).config.services["web"].files == {TARGET: PATH}


def test_a_spec_has_the_hash_of_each() -> None:
    with pytest.raises(ValueError, match=r"nothing is known of the file config/web\.yml"):
        app(service(files={TARGET: PATH}), files={})


def test_two_things_are_not_mounted_at_one_path() -> None:
    with pytest.raises(ValueError, match=r"at the same path, /code/config\.yml"):
        service(files={TARGET: PATH}, volumes=[f"data:{TARGET}"])


@quick
@given(names, st.text(min_size=1).filter(lambda text: "/" not in text and text.isprintable()))
@example("a" * 40, "x" * 100)
@example("a", ".é $")
def test_names_are_what_the_engine_takes(name: str, file: str) -> None:
    spec = app(service(files={"/a": f"config/{file}"}), name=name)
    found = swarm.file_name(spec, f"config/{file}")
    assert len(found) <= 64
    assert re.fullmatch(r"[a-zA-Z0-9]+([a-zA-Z0-9_.-]*[a-zA-Z0-9])?", found)
    assert found.startswith(f"{name}_")
    assert found.endswith(f"-{spec.files[f'config/{file}'][:12]}")


def test_a_deploy_creates_the_config_and_mounts_it() -> None:
    made = engine()
    found = deploy(made, OLD)
    (config_made,) = own_configs(made)
    name = f"items_web.yml-{digests(OLD)[PATH][:12]}"
    assert config_made["Spec"]["Name"] == name
    assert base64.b64decode(config_made["Spec"]["Data"]) == OLD[PATH]
    assert config_made["Spec"]["Labels"] == {
        labels.STACK: "items",
        labels.APP: "items",
        labels.FILE: PATH,
    }
    assert mounted(made)[-1:] == [
        {
            "ConfigID": config_made["ID"],
            "ConfigName": name,
            "File": {"Name": TARGET, "UID": "0", "GID": "0", "Mode": 0o444},
        }
    ]
    assert [(c.kind, c.action) for c in found.changes if c.name == name] == [
        ("config", Action.CREATE)
    ]


def test_the_same_again_touches_nothing() -> None:
    made = engine()
    deploy(made, OLD)
    before = list(made.changes)
    assert plan(made, OLD).is_empty
    deploy(made, OLD)
    assert made.changes == before


def test_another_content_rolls_the_services_that_use_it_and_no_other() -> None:
    made = engine()
    deploy(made, OLD, worker())
    found = plan(made, NEW, worker())
    by_name = {change.name: change for change in found.changes if change.kind == "service"}
    assert by_name["worker"].action is Action.KEEP
    assert by_name["web"].replaces
    (field,) = by_name["web"].fields
    assert field.path == f"files.{TARGET}"
    assert field.before == f"items_web.yml-{digests(OLD)[PATH][:12]}"
    assert field.after == f"items_web.yml-{digests(NEW)[PATH][:12]}"
    deploy(made, NEW, worker())
    assert len(own_configs(made)) == 2


def test_going_back_takes_what_the_cluster_has() -> None:
    made = engine()
    deploy(made, OLD)
    deploy(made, NEW)
    spec = with_files(OLD)
    back = Swarm(made).plan(spec, images(spec))
    Swarm(made).rollout(back).start(release(spec, 3))
    assert mounted(made)[-1]["ConfigName"].endswith(digests(OLD)[PATH][:12])
    assert len(own_configs(made)) == 2


def test_what_the_cluster_has_no_longer_is_told_before_anything_is_changed() -> None:
    spec = with_files(OLD)
    with pytest.raises(PlanError) as caught:
        Swarm(engine()).plan(spec, images(spec))
    assert caught.value.code == "file_gone"
    assert PATH in caught.value.message


def test_somebody_else_created_it_meanwhile() -> None:
    made = engine()
    first, second = plan(made, OLD), plan(made, OLD)
    spec = with_files(OLD)
    Swarm(made).rollout(first).start(release(spec, 1))
    (config_made,) = own_configs(made)
    made.remove_service(made.service("items_web")["ID"])
    Swarm(made).rollout(second).start(release(spec, 2))
    assert mounted(made)[-1]["ConfigID"] == config_made["ID"]


def test_a_refusal_is_told() -> None:
    made = engine()
    found = plan(made, OLD)
    made.refuses["create_config"] = EngineError("no leader", code="no_quorum")
    with pytest.raises(EngineError) as caught:
        Swarm(made).rollout(found).start(release(with_files(OLD)))
    assert caught.value.code == "no_quorum"
    assert made.services() == []


def test_the_rendered_file_names_content_and_place() -> None:
    document = stack.document(with_files(OLD))
    name = f"items_web.yml-{digests(OLD)[PATH][:12]}"
    assert document["configs"][name] == {
        "file": "../config/web.yml",
        "labels": {labels.APP: "items", labels.FILE: PATH},
        "name": name,
    }
    assert document["services"]["web"]["configs"][-1] == {
        "source": name,
        "target": TARGET,
        "uid": "0",
        "gid": "0",
        "mode": 0o444,
    }


def test_odd_names_are_kept_from_interpolation() -> None:
    configs = stack.document(maximal_app())["configs"]
    assert "../config/odd $$name.ini" in {found["file"] for found in configs.values()}


def test_a_file_above_the_project_is_found_from_the_stack() -> None:
    spec = app(service(files={"/a": "../shared/a.yml"}))
    configs = stack.document(spec)["configs"].values()
    assert "../../shared/a.yml" in {found["file"] for found in configs}


def test_other_rights_than_ours_are_a_difference() -> None:
    made = engine()
    deploy(made, OLD)
    live = made.service("items_web")
    live["Spec"]["TaskTemplate"]["ContainerSpec"]["Configs"][-1]["File"]["Mode"] = 0o400
    (change, *_) = plan(made, OLD).changes
    assert [field.path for field in change.fields] == [f"files.{TARGET}"]
    assert str(change.fields[0].before).endswith(" 0:0 400")
