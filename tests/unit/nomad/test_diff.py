"""What a dry run of Nomad's says would change, in the form of every plan."""

from __future__ import annotations

from typing import Any

import pytest

from deploytool import diff
from deploytool.backends.model import Action, Plan
from deploytool.backends.nomad.planning.diff import changes, field_changes, key_of
from deploytool.redact import MASK

Json = dict[str, Any]


def field(name: str, old: str, new: str) -> Json:
    kind = "None" if old == new else "Edited" if old and new else "Added" if new else "Deleted"
    return {"Type": kind, "Name": name, "Old": old, "New": new, "Annotations": None}


def group(name: str = "web", kind: str = "Edited", **parts: Any) -> Json:
    empty = {"Fields": None, "Objects": None, "Tasks": None, "Updates": None}
    return {"Type": kind, "Name": name} | empty | parts


def answer(*groups: Json, **updates: Json) -> Json:
    return {"Diff": {"TaskGroups": list(groups)}, "Annotations": {"DesiredTGUpdates": updates}}


def task(fields: list[Json] | None = None, objects: list[Json] | None = None) -> Json:
    return {"Type": "Edited", "Name": "web", "Fields": fields, "Objects": objects}


def named(name: str, *fields: Json) -> Json:
    return {"Type": "Edited", "Name": name, "Fields": list(fields), "Objects": None}


def test_unchanged_group_is_kept() -> None:
    (change,) = changes(answer(group(kind="None"), web={"Ignore": 3}))
    assert (change.name, change.action, change.replaces) == ("web", Action.KEEP, False)


def test_count_replaces_nothing() -> None:
    found = group(Fields=[field("Count", "2", "4")])
    (change,) = changes(answer(found, web={"Place": 2, "InPlaceUpdate": 2}))
    assert (change.action, change.replaces) == (Action.UPDATE, False)
    assert [(f.path, f.before, f.after) for f in change.fields] == [("replicas", 2, 4)]


@pytest.mark.parametrize("updates", [{"DestructiveUpdate": 2}, {"Canary": 1, "Ignore": 3}])
def test_replacement_is_told_by_the_updates(updates: Json) -> None:
    image = named("Config", field("image", "a@sha256:1", "a@sha256:2"))
    found = group(Tasks=[task(objects=[image])])
    (change,) = changes(answer(found, web=updates))
    assert change.replaces
    assert [f.path for f in change.fields] == ["image"]


def test_annotations_do_not_tell_it() -> None:
    kept = field("KillTimeout", "5000000000", "9000000000")
    kept["Annotations"] = ["forces create/destroy update"]
    (change,) = changes(answer(group(Tasks=[task([kept])]), web={"InPlaceUpdate": 2}))
    assert not change.replaces
    assert [(f.path, f.before, f.after) for f in change.fields] == [("stop_grace", "5s", "9s")]


def test_new_and_gone_groups() -> None:
    found = changes(answer(group("old", "Deleted"), group("new", "Added"), new={"Place": 1}))
    assert [(c.name, c.action) for c in found] == [
        ("new", Action.CREATE),
        ("old", Action.REMOVE),
    ]


def test_limits_of_processes_and_tmp() -> None:
    size = field("mount[1][tmpfs_options][0][size]", "", "6.7108864e+07")
    config = named("Config", field("pids_limit", "100", "1024"), size)
    found = field_changes(group(Tasks=[task(objects=[config])]))
    assert {f.path: (f.before, f.after) for f in found} == {
        "pids": ("100", "1024"),
        "tmp_size": (None, "64MiB"),
    }


def test_keys_of_containers() -> None:
    config = named(
        "Config",
        field("mount[0][target]", "/dev/shm", "/dev/shm"),
        field("mount[0][tmpfs_options][0][size]", "1048576", "2097152"),
        field("ulimit[0][nofile]", "1024:1024", "2048:2048"),
        field("hostname", "", "shop"),
        field("extra_hosts[0]", "", "db:10.0.0.5"),
        field("logging[0][type]", "", "splunk"),
        field("logging[0][config][0][splunk-token]", "", "s3cr3t"),
        field("logging[0][config][0][Tag]", "", "a"),
    )
    found = field_changes(group(Tasks=[task(objects=[config])]))
    assert {f.path: (f.before, f.after) for f in found} == {
        "tmpfs./dev/shm": ("1MiB", "2MiB"),
        "ulimits.nofile": ("1024:1024", "2048:2048"),
        "hostname": (None, "shop"),
        "extra_hosts": (None, ["db:10.0.0.5"]),
        "logging.driver": (None, "splunk"),
        "logging.options.splunk-token": (None, MASK),
        "logging.options.Tag": (None, "a"),
    }


def test_arguments_are_one_list() -> None:
    config = named(
        "Config",
        field("args[0]", "app:app", "app:app"),
        field("args[1]", "--port", "--host"),
        field("args[2]", "", "0.0.0.0"),
    )
    (change,) = field_changes(group(Tasks=[task(objects=[config])]))
    assert (change.path, change.before, change.after) == (
        "command",
        ["app:app", "--port"],
        ["app:app", "--host", "0.0.0.0"],
    )


def test_variables_have_their_names_and_secrets_are_masked() -> None:
    fields = [field("Env[LOG]", "a", "b"), field("Env[API_TOKEN]", "s3cret", "s4cret")]
    found = {f.path: f.after for f in field_changes(group(Tasks=[task(fields)]))}
    assert found["env.LOG"] == "b"
    assert "s4cret" not in str(found)


def test_what_the_servers_add_is_passed_over() -> None:
    added = named(
        "Constraint",
        field("LTarget", "", "${attr.nomad.service_discovery}"),
        field("RTarget", "", "true"),
    )
    assert field_changes(group(Objects=[added])) == ()


def test_the_release_is_no_change() -> None:
    meta = named("Meta", field("deploytool.release", "v1", "v2"))
    assert field_changes(group(Objects=[meta])) == ()


def test_sizes_and_times_are_readable() -> None:
    resources = named("Resources", field("MemoryMB", "256", "512"), field("CPU", "100", "500"))
    update = named("Update", field("MinHealthyTime", "300000000000", "60000000000"))
    found = {
        f.path: (f.before, f.after)
        for f in field_changes(group(Objects=[update], Tasks=[task(objects=[resources])]))
    }
    assert found == {
        "memory": ("256MiB", "512MiB"),
        "cpu": ("100 MHz", "500 MHz"),
        "update.monitor": ("5m", "1m"),
    }


def test_unknown_fields_keep_their_own_names() -> None:
    assert key_of("Consul.Cluster") == "Consul.Cluster"


def test_a_check_that_changes_is_one_change() -> None:
    """A set's element that changes goes and comes."""
    gone = named("Check", field("Path", "/health", ""), field("Method", "GET", ""))
    come = named("Check", field("Path", "", "/up"), field("Method", "", "GET"))
    service = named("Service") | {"Objects": [gone | {"Type": "Deleted"}, come | {"Type": "Added"}]}
    found = field_changes(group(Tasks=[task(objects=[service])]))
    assert [(f.path, f.before, f.after) for f in found] == [("healthcheck.path", "/health", "/up")]


def template(path: str, old: str, new: str) -> Json:
    made = named(
        "Template",
        field("DestPath", path if old else "", path if new else ""),
        field("EmbeddedTmpl", old, new),
        field("Perms", "0444" if old else "", "0444" if new else ""),
    )
    return made | {"Type": "Added" if new else "Deleted"}


def reading(version: int) -> str:
    return (
        f'{{{{ with nomadVar "nomad/jobs/items" }}}}{{{{ .TOKEN__{version}.Value }}}}{{{{ end }}}}'
    )


def test_another_version_of_a_secret_is_told_by_its_number() -> None:
    """Whichever of several templates comes first."""
    file, secret = "local/deploytool/3f2c81aa-web.yml", "secrets/deploytool/TOKEN"
    templates = [
        template(file, "a: 1", ""),
        template(secret, reading(1), ""),
        template(secret, "", reading(2)),
        template(file, "", "a: 2"),
    ]
    found = field_changes(group(Tasks=[task(objects=templates)]), {file: "/etc/app/settings.yml"})
    assert [(f.path, f.before, f.after) for f in found] == [
        ("files./etc/app/settings.yml", "sha256:16c3c6d78678", "sha256:dd73f18054ef"),
        ("secrets.TOKEN", "version 1", "version 2"),
    ]


def test_a_file_that_is_new_is_one_field() -> None:
    added = template("secrets/deploytool/TOKEN", "", reading(1))
    found = field_changes(group(Tasks=[task(objects=[added])]))
    assert [(f.path, f.before, f.after) for f in found] == [("secrets.TOKEN", None, "version 1")]


def test_a_secret_set_by_hand_is_told_by_its_name() -> None:
    text = '{{ with nomadVar "nomad/jobs/items" }}{{ .TOKEN.Value }}{{ end }}'
    added = template("secrets/deploytool/TOKEN", "", text)
    (change,) = field_changes(group(Tasks=[task(objects=[added])]))
    assert change.after == "nomad/jobs/items:TOKEN"


def test_tags_are_told_as_labels_each_by_its_key() -> None:
    """Each is a field of the same name: nomad/structs/diff.go, stringSetDiff."""
    rule = "traefik.http.routers.a.rule"
    tags = named(
        "Tags",
        field("Tags", f"{rule}=Host(`a`)", ""),
        field("Tags", "traefik.enable=true", "traefik.enable=true"),
        field("Tags", "", f"{rule}=Host(`b`)"),
        field("Tags", "", "traefik.http.middlewares.auth.basicauth.users=ann:hunter2"),
    )
    found = changes(answer(group(Objects=[named("Service") | {"Objects": [tags]}])))
    told = [
        (f.path, f.before, f.after)
        for f in diff.hidden(Plan(app="items", changes=found)).changes[0].fields
    ]
    assert told == [
        ("labels.traefik.http.middlewares.auth.basicauth.users", None, MASK),
        (f"labels.{rule}", "Host(`a`)", "Host(`b`)"),
    ]


def test_other_nodes_for_the_job_are_a_change_of_each_group() -> None:
    centres = named("Datacenters", field("Datacenters", "dc1", ""), field("Datacenters", "", "dc2"))
    told = answer(group(kind="None"), group("db", kind="None"), web={"Canary": 1})
    told["Diff"] |= {
        "Type": "Edited",
        "Fields": [field("NodePool", "default", "gpu"), field("Version", "1", "2")],
        "Objects": [centres],
    }
    found = {change.name: change for change in changes(told)}
    assert {name: (c.action, c.replaces) for name, c in found.items()} == {
        "db": (Action.UPDATE, False),
        "web": (Action.UPDATE, True),
    }
    assert [(f.path, f.before, f.after) for f in found["db"].fields] == [
        ("nomad.datacenters", "dc1", "dc2"),
        ("nomad.node_pool", "default", "gpu"),
    ]


def test_constraints_that_servers_add_are_not_told() -> None:
    signals = [
        field("LTarget", "", "${attr.os.signals}"),
        field("Operand", "", "set_contains"),
        field("RTarget", "", "SIGTERM"),
    ]
    found = group(Objects=[named("Constraint", *signals) | {"Type": "Added"}])
    assert field_changes(found) == ()
