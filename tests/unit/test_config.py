"""The configuration: layers and their sources, and mistakes told in words, all of them, always."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from hypothesis import HealthCheck, example, find, given, settings
from hypothesis import strategies as st

from deploytool.config import Config, LoadedConfig, load, schema
from deploytool.config.problems import problems_of
from deploytool.errors import ConfigError, UsageError
from deploytool.redact import MASK

SMALL = """\
app = "items"
entrypoint = "app.main:app"
[services.web]
port = 8000
"""
Environ = dict[str, str]


def read(
    folder: Path,
    text: str,
    *,
    environment: str | None = None,
    environ: Environ | None = None,
    flags: dict[str, tuple[str, Any]] | None = None,
) -> LoadedConfig:
    (folder / "deploytool.toml").write_text(textwrap.dedent(text), encoding="utf-8")
    return load(folder, environment=environment, environ=environ or {}, flags=flags)


def problems(folder: Path, text: str, **more: Any) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        read(folder, text, **more)
    return [str(problem) for problem in raised.value.problems]


class TestWhereItIs:
    def test_in_pyproject(self, tmp_path: Path) -> None:
        (tmp_path / "pyproject.toml").write_text(
            '[tool.deploytool]\napp = "items"\n[tool.deploytool.services.web]\ncommand = []\n'
            '[tool.fastapi]\nentrypoint = "app.main:app"\n'
        )
        found = load(tmp_path, environ={})
        assert (found.config.app, found.file.name) == ("items", "pyproject.toml")
        assert found.fastapi_entrypoint == "app.main:app"

    def test_the_file_of_its_own_comes_first(self, tmp_path: Path) -> None:
        (tmp_path / "pyproject.toml").write_text('[tool.deploytool]\napp = "other"\n')
        assert read(tmp_path, SMALL).config.app == "items"

    def test_in_a_folder_above(self, tmp_path: Path) -> None:
        read(tmp_path, SMALL)
        inner = tmp_path / "app" / "inner"
        inner.mkdir(parents=True)
        assert load(inner, environ={}).project == tmp_path.resolve()

    @pytest.mark.parametrize("border", ["pyproject.toml", ".git"])
    def test_not_above_the_project(self, tmp_path: Path, border: str) -> None:
        read(tmp_path, SMALL)
        inner = tmp_path / "other"
        inner.mkdir()
        (inner / border).write_text("")
        with pytest.raises(UsageError) as raised:
            load(inner, environ={})
        assert raised.value.code == "no_config"
        assert "deploytool init" in raised.value.hint

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"a = ", "not valid TOML"),
            (b"\xff\xfe", "not UTF-8"),
            (b"a = " + b"[" * 100_000, "not valid TOML"),
            (b"a = " + b"9" * 5000, "cannot be read"),
            (b"a = 1\na = 2", "not valid TOML"),
        ],
    )
    def test_a_file_that_is_no_toml(self, tmp_path: Path, content: bytes, message: str) -> None:
        (tmp_path / "pyproject.toml").write_bytes(content)
        with pytest.raises(ConfigError) as raised:
            load(tmp_path, environ={})
        assert raised.value.code == "config_unreadable"
        assert "config schema" not in raised.value.hint
        assert message in raised.value.details[0]

    def test_deploytool_that_is_no_table(self, tmp_path: Path) -> None:
        (tmp_path / "pyproject.toml").write_text("[tool]\ndeploytool = 1")
        with pytest.raises(ConfigError, match="1 problem"):
            load(tmp_path, environ={})


class TestLayers:
    TEXT = """\
        app = "items"
        entrypoint = "app.main:app"
        [services.web]
        port = 8000
        memory = "64MiB"
        env = { A = "file", B = "file" }
        volumes = ["a:/a", "b:/b"]
        [services.web.healthcheck]
        path = "/health"
        [services.my-worker]
        command = ["work"]
        [environments.live.services.web]
        replicas = 3
        memory = "128MiB"
        env.B = "live"
        volumes = ["c:/c"]
        """

    def shown(self, folder: Path, **more: Any) -> dict[str, tuple[Any, str]]:
        found = read(folder, self.TEXT, **more)
        return {setting.path: (setting.value, setting.source) for setting in found.settings()}

    def test_the_file_over_the_defaults(self, tmp_path: Path) -> None:
        shown = self.shown(tmp_path)
        assert shown["services.web.replicas"] == (1, "default")
        assert shown["services.web.memory"] == ("64MiB", "deploytool.toml")
        assert shown["services.web.healthcheck.path"] == ("/health", "deploytool.toml")
        assert shown["services.web.healthcheck.timeout"] == ("3s", "default")

    def test_the_environment_over_the_file(self, tmp_path: Path) -> None:
        shown = self.shown(tmp_path, environment="live")
        live = "deploytool.toml [environments.live]"
        assert shown["services.web.replicas"] == (3, live)
        assert shown["services.web.env.A"] == ("file", "deploytool.toml")
        assert shown["services.web.env.B"] == ("live", live)
        assert shown["services.web.volumes"] == (["c:/c"], live)
        assert shown["services.web.port"] == (8000, "deploytool.toml")

    def test_files_of_variables_below_all_else(self, tmp_path: Path) -> None:
        (tmp_path / "a.env").write_text("# first\nexport A=1\nB='1 #'\nC=1\nEMPTY=\nD=${A}\nD=2\n")
        (tmp_path / "b.env").write_text("B=2\nC=2\n")
        text = SMALL + 'env_file = ["a.env", "b.env"]\nenv = { C = 3 }\n'
        loaded = read(tmp_path, text, environ={"DEPLOYTOOL_SERVICES__WEB__ENV__D": "4"})
        (web,) = loaded.app_spec().services
        assert web.env == {"A": "1", "B": "2", "C": "3", "EMPTY": "", "D": "4"}
        assert loaded.source("services.web.env.B") == "b.env"
        assert not web.env_file  # a release says the same without the project

    def test_one_file_of_variables_of_an_environment(self, tmp_path: Path) -> None:
        (tmp_path / "prod.env").write_text("A=1\n")
        text = SMALL + '[environments.prod.services.web]\nenv_file = "prod.env"\n'
        (web,) = read(tmp_path, text, environment="prod").app_spec().services
        assert web.env == {"A": "1"}
        (tmp_path / "prod.env").unlink()
        read(tmp_path, text)

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            (None, "services.web.env_file[0]: a.env does not exist"),
            (b"\xff", "services.web.env_file[0]: a.env is not UTF-8 text"),
            (b"A=1\ns3cr3t\n", "services.web.env_file[0]: a.env is wrong in line 2"),
            (b"A='s3cr3t\n", "services.web.env_file[0]: a.env is wrong in line 1"),
            (b"a.b=s3cr3t\n", "is not the name of an environment variable"),
        ],
    )
    def test_what_is_wrong_with_a_file_of_variables(
        self, tmp_path: Path, content: bytes | None, problem: str
    ) -> None:
        if content is not None:
            (tmp_path / "a.env").write_bytes(content)
        (found,) = problems(tmp_path, SMALL + 'env_file = ["a.env"]\n')
        assert problem in found
        assert "s3cr3t" not in found

    def test_variables_over_the_environment(self, tmp_path: Path) -> None:
        environ = {
            "DEPLOYTOOL_SERVICES__WEB__REPLICAS": "6",
            "DEPLOYTOOL_SERVICES__MY_WORKER__REPLICAS": "2",
            "DEPLOYTOOL_SERVICES__WEB__ENV__B": "1.10",
            "DEPLOYTOOL_SERVICES__WEB__ENV__DB__Host": "db",
            "DEPLOYTOOL_SERVICES__WEB__USER": "1000",
            "DEPLOYTOOL_SERVICES__WEB__READ_ONLY": "false",
            "DEPLOYTOOL_SERVICES__WEB__DOMAINS": '["a.example.com"]',
            "DEPLOYTOOL_BUILD__ARGS__VERSION": "2026-01-01",
            "DEPLOYTOOL_REGISTRY": "localhost:5000",
        }
        shown = self.shown(tmp_path, environment="live", environ=environ)
        values = {value[1]: value[0] for value in shown.values() if value[1] in environ}
        assert values == {
            "DEPLOYTOOL_SERVICES__WEB__REPLICAS": 6,
            "DEPLOYTOOL_SERVICES__MY_WORKER__REPLICAS": 2,
            "DEPLOYTOOL_SERVICES__WEB__ENV__B": "1.10",
            "DEPLOYTOOL_SERVICES__WEB__ENV__DB__Host": "db",
            "DEPLOYTOOL_SERVICES__WEB__USER": "1000",
            "DEPLOYTOOL_SERVICES__WEB__READ_ONLY": False,
            "DEPLOYTOOL_SERVICES__WEB__DOMAINS": ["a.example.com"],
            "DEPLOYTOOL_BUILD__ARGS__VERSION": "2026-01-01",
            "DEPLOYTOOL_REGISTRY": "localhost:5000",
        }
        assert shown["services.my-worker.replicas"][0] == 2
        assert shown["services.web.env.DB__Host"][0] == "db"

    def test_flags_over_variables(self, tmp_path: Path) -> None:
        shown = self.shown(
            tmp_path,
            environ={"DEPLOYTOOL_SERVICES__WEB__REPLICAS": "6"},
            flags={"services.web.replicas": ("--replicas", 9)},
        )
        assert shown["services.web.replicas"] == (9, "--replicas")

    def test_a_table_in_a_variable_replaces_the_table(self, tmp_path: Path) -> None:
        name = "DEPLOYTOOL_SERVICES__WEB__HEALTHCHECK"
        shown = self.shown(tmp_path, environ={name: '{ path = "/up" }'})
        assert shown["services.web.healthcheck.path"] == ("/up", name)

    @pytest.mark.parametrize("empty", ["[environments.live]", "[environments.live.services.web]"])
    def test_an_empty_table_changes_nothing(self, tmp_path: Path, empty: str) -> None:
        found = read(tmp_path, f"{SMALL}{empty}", environment="live")
        assert found.config.services["web"].port == 8000

    def test_environments_do_not_see_variables_meant_for_all(self, tmp_path: Path) -> None:
        text = SMALL + "env = {}\n[environments.live.services.web]\nreplicas = 2"
        environ = {"DEPLOYTOOL_SERVICES__WEB__ENV__A": "\0"}
        assert problems(tmp_path, text, environ=environ) == [
            "services.web.env.A: a NUL character cannot be passed to a process "
            "[set by DEPLOYTOOL_SERVICES__WEB__ENV__A]"
        ]

    @pytest.mark.parametrize(
        ("name", "meant"),
        [
            ("REGISTY", "; did you mean DEPLOYTOOL_REGISTRY?"),
            ("REPLICAS", "; did you mean DEPLOYTOOL_SERVICES__MY_WORKER__REPLICAS?"),
            ("PROXY_HTTP_PORT", "; did you mean DEPLOYTOOL_PROXY__HTTP_PORT?"),
            (
                "SERVICE__MY_WORKER__HEALTHCHECK__PATH",
                "; did you mean DEPLOYTOOL_SERVICES__MY_WORKER__HEALTHCHECK__PATH?",
            ),
            (
                "SERVICES__MY_WROKER__REPLICAS",
                "; did you mean DEPLOYTOOL_SERVICES__MY_WORKER__REPLICAS?",
            ),
            ("SERVICES__XYZ__IJK", ", as there is no such service: there are my-worker"),
            ("FOO", ", as it begins with no key of the configuration"),
            ("ENVIRONMENTS__LIVE__APP", ", as it begins with no key of the configuration"),
        ],
    )
    def test_a_variable_that_sets_nothing_is_a_warning(
        self, tmp_path: Path, name: str, meant: str
    ) -> None:
        environ = {f"DEPLOYTOOL_{name}": "x", "DEPLOYTOOL_ENV": "x"}
        text = SMALL.replace("services.web", "services.my-worker")
        warnings = read(tmp_path, text, environ=environ).warnings
        assert warnings == (f"DEPLOYTOOL_{name} sets nothing{meant}",)

    def test_labels_with_dots_keep_their_names(self, tmp_path: Path) -> None:
        found = read(tmp_path, SMALL + 'labels = { "a.b" = "c" }')
        settings = {setting.path: setting for setting in found.settings()}
        assert settings['services.web.labels."a.b"'].source == "deploytool.toml"


class TestNoHealthCheck:
    """`healthcheck = false` is no table, and an environment may say otherwise."""

    def test_file_and_environments(self, tmp_path: Path) -> None:
        text = SMALL + "healthcheck = false\n"
        text += '[environments.live.services.web.healthcheck]\npath = "/up"'
        assert read(tmp_path, text).config.services["web"].healthcheck is False
        assert read(tmp_path, text).config.services["web"].check is None
        check = read(tmp_path, text, environment="live").config.services["web"].check
        assert check is not None
        assert check.path == "/up"

    def test_variable(self, tmp_path: Path) -> None:
        text = SMALL + 'healthcheck = { path = "/up" }'
        environ = {"DEPLOYTOOL_SERVICES__WEB__HEALTHCHECK": "false"}
        assert read(tmp_path, text, environ=environ).config.services["web"].healthcheck is False

    @pytest.mark.parametrize("value", ["true", '"no"', "0", "[]"])
    def test_other_values(self, tmp_path: Path, value: str) -> None:
        (problem,) = problems(tmp_path, f"{SMALL}healthcheck = {value}")
        assert problem.startswith("services.web.healthcheck: must be a table")


class TestMistakes:
    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("[services.web]\ncommand = []", "app: is missing"),
            ('app = "items"', "services: is missing"),
            ('app = "items"\nservices = {}', "services: must not be empty"),
            ('app = "items"\nservices = 1', "services: must be a table, not 1"),
            ('app = "items"\nservices.web = []', "services.web: must be a table, not a list"),
            (
                SMALL + "replcas = 1",
                "services.web.replcas: unknown key 'replcas' (did you mean 'replicas'?)",
            ),
            (
                SMALL + 'healthcheck = { path = "/", intervall = "1s" }',
                "services.web.healthcheck.intervall: unknown key 'intervall' "
                "(did you mean 'interval'?)",
            ),
            (
                SMALL + "publish = { port = 1, mod = 2 }",
                "services.web.publish[0].mod: unknown key 'mod' (did you mean 'mode'?)",
            ),
            (
                'regstry = "a"\n' + SMALL,
                "regstry: unknown key 'regstry' (did you mean 'registry'?)",
            ),
            (
                SMALL + "[swarm]\nzzz = 1",
                "swarm.zzz: unknown key 'zzz' (known here: context, host)",
            ),
            (
                SMALL + '[tool.deploytool.nomad]\naddress = "http://n:4646"',
                "tool: unknown key 'tool' (in a deploytool.toml, [tool.deploytool.NAME] is [NAME])",
            ),
            (
                SMALL + '"a b" = 1',
                "services.web.\"a b\": unknown key 'a b' (known here: ",
            ),
            (
                SMALL + 'name = "x"',
                "services.web.name: unknown key 'name' (the table's own name names it)",
            ),
            (SMALL + "replicas = -1", "services.web.replicas: must be at least 0, not -1"),
            (
                SMALL + 'mode = "each"',
                "services.web.mode: must be 'replicated' or 'global', not 'each'",
            ),
            (
                SMALL + 'mode = "global"\nreplicas = 1',
                'services: web.replicas and web.mode = "global" exclude one another, as one '
                "replica on each node is as many as there are nodes: leave replicas out, here and "
                "in what an environment inherits",
            ),
            (
                SMALL + 'replicas = 3\n[environments.staging]\nservices.web.mode = "global"',
                'environments.staging.services: web.replicas and web.mode = "global" exclude one',
            ),
            (
                SMALL + 'mode = "global"\nplacement = { max_per_node = 2 }',
                'services.web: placement.max_per_node means nothing with mode = "global", which is '
                "one replica on each node: placement.constraints say on which nodes",
            ),
            (
                SMALL + '[release]\ncommand = ["x"]\nmode = "global"',
                "release.mode: unknown key 'mode'",
            ),
            (
                SMALL + 'labels = { "deploytool.role" = "proxy" }',
                "services: web.labels sets deploytool.role, which is deploytool's to set",
            ),
            (
                SMALL.replace("items", "proxy"),
                "app: 'proxy' is the name of deploytool's own app: choose another name",
            ),
            (
                SMALL + '[environments.staging]\napp = "proxy"',
                "environments.staging.app: 'proxy' is the name of deploytool's own app: choose "
                "another name",
            ),
            (SMALL + "cpu = 0", "services.web.cpu: must be more than 0, not 0"),
            (SMALL + 'replicas = "3"', "services.web.replicas: must be a whole number, not '3'"),
            (SMALL + "read_only = 7", "services.web.read_only: must be true or false, not 7"),
            (SMALL + "domains = 7", "services.web.domains: must be a list, not 7"),
            (
                SMALL + 'capabilities = "all"',
                "services.web.capabilities: must be 'default', not 'all'",
            ),
            (SMALL + "capabilities = 7", "services.web.capabilities: must be a list, not 7"),
            (
                SMALL + 'capabilities = ["chown"]',
                "services.web.capabilities[0]: is not written right: 'chown' "
                '(write the capability in capitals, for example "NET_BIND_SERVICE")',
            ),
            (SMALL + "user = 7", "services.web.user: must be text, not 7"),
            (
                SMALL + "memory = 64",
                'services.web.memory: write memory with a unit, for example "256MiB" or "1GiB", '
                "not 64",
            ),
            (
                SMALL + 'restart = { condition = "x" }',
                "services.web.restart.condition: must be 'any', 'on-failure' or 'none', not 'x'",
            ),
            (
                'backend = "kubernetes"\n' + SMALL,
                "backend: must be 'swarm' or 'nomad', not 'kubernetes'",
            ),
            (
                SMALL + 'healthcheck = { path = "up" }',
                "services.web.healthcheck.path: is not written right: 'up' "
                '(start with a slash, for example "/health")',
            ),
            (
                'registry = "https://r.example.com"\n' + SMALL,
                "registry: 'https://r.example.com' is not a registry: ",
            ),
            ('registry = "h:p:q"\n' + SMALL, "registry: 'h:p:q' is not a registry: "),
            ('registry = "h:70000"\n' + SMALL, "registry: 'h:70000' is not a registry: "),
            (
                SMALL + 'image = "Bad Ref"',
                "services.web.image: 'Bad Ref' is not the name of an image: ",
            ),
            (
                SMALL + '[proxy]\nimage = "https://a/b:1"',
                "proxy.image: 'https://a/b:1' is not the name of an image: ",
            ),
            (
                SMALL + "[environments.live.services.web]\nreplcas = 1",
                "environments.live.services.web.replcas: unknown key 'replcas' "
                "(did you mean 'replicas'?)",
            ),
            (
                SMALL + '[environments.live.services.web]\nmemory = "2MiB"\nmemory_limit = "1MiB"',
                "environments.live.services.web: memory reserves more than memory_limit allows",
            ),
        ],
    )
    def test_it_says_what_and_where(self, tmp_path: Path, text: str, problem: str) -> None:
        [told] = problems(tmp_path, text)
        assert told.startswith(problem)

    def test_all_are_told_together(self, tmp_path: Path) -> None:
        text = """\
            app = "Items"
            regstry = "x"
            [services.web]
            port = 0
            memory = "64"
            [services.worker]
            commands = []
            [environments.live.services.web]
            replicas = "many"
            """
        told = problems(tmp_path, text, environ={"DEPLOYTOOL_PROXY__HTTP_PORT": "http"})
        assert [problem.partition(":")[0] for problem in told] == [
            *("app", "services.web.port", "services.web.memory", "services.worker.commands"),
            *("proxy.http_port", "regstry", "environments.live.services.web.replicas"),
        ]

    def test_mistakes_of_variables_and_flags_name_them(self, tmp_path: Path) -> None:
        told = problems(
            tmp_path,
            SMALL,
            environ={"DEPLOYTOOL_SERVICES__WEB__PORT": "http"},
            flags={"services.web.replicas": ("--replicas", -1)},
        )
        assert told == [
            "services.web.replicas: must be at least 0, not -1 [set by --replicas]",
            "services.web.port: must be a whole number, not 'http' "
            "[set by DEPLOYTOOL_SERVICES__WEB__PORT]",
        ]

    def test_an_environment_that_is_not_there(self, tmp_path: Path) -> None:
        text = SMALL + "[environments.live]\n[environments.test]"
        assert problems(tmp_path, text, environment="prod") == [
            "environments.prod: there is no such environment (there are: live, test)"
        ]
        assert problems(tmp_path, SMALL, environment="prod") == [
            "environments.prod: there is no such environment "
            "(add [environments.prod] to deploytool.toml)"
        ]

    @pytest.mark.parametrize("form", ["a" + ".a" * 5000 + " = 1", "[" + "a." * 5000 + "a]"])
    def test_deep_tables(self, tmp_path: Path, form: str) -> None:
        assert problems(tmp_path, f"{SMALL}{form}") == ["not valid TOML: nested too deeply"]
        assert problems(tmp_path, f"{form.replace('a', 'environments', 1)}\n") == [
            "not valid TOML: nested too deeply"
        ]


SECRET = "hunter2"


@pytest.mark.parametrize(
    "text",
    [
        SMALL + f'env = {{ DB_PASSWORD = ["{SECRET}"] }}',
        SMALL + f'env = "DB_PASSWORD={SECRET}"',
        SMALL + f'env = {{ "A B" = "{SECRET}" }}',
        SMALL + f'env = {{ A = "{SECRET}\\u0000" }}',
        SMALL + f'secrets = ["A={SECRET}"]',
        SMALL + f'secrets = "{SECRET}"',
        SMALL + f'secrets = {{ A = "{SECRET}" }}',
        SMALL + f'secret = "{SECRET}"',
        SMALL + f'healthcheck = [{{ token = "{SECRET}" }}]',
        f'registry = "https://me:{SECRET}@r.example.com"\n' + SMALL,
        f'entrypoint = "https://me:{SECRET}@r.example.com"\napp = "x"\nservices.a.port = 1',
        SMALL + f'[build]\nargs = {{ TOKEN = {{ a = "{SECRET}" }} }}',
        SMALL + f'[build]\nargs = ["TOKEN={SECRET}"]',
        SMALL + f'[environments.live.services.web]\nenv = "PASSWORD={SECRET}"',
    ],
)
def test_secrets_are_not_repeated(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read(tmp_path, text)
    assert SECRET not in f"{raised.value} {raised.value.details}"


def test_secrets_are_masked_where_values_are_shown(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        SMALL + f'env = {{ API_TOKEN = "{SECRET}", URL = "amqp://me:{SECRET}@queue" }}\n'
        f'command = ["run", "postgres://me:{SECRET}@db"]',
    )
    shown = {setting.path: setting.value for setting in found.settings()}
    assert SECRET not in repr(shown)
    assert shown["services.web.env.API_TOKEN"] == MASK


def test_no_number_is_shown_of_a_service_with_one_replica_on_each_node(tmp_path: Path) -> None:
    found = read(tmp_path, SMALL, environ={"DEPLOYTOOL_SERVICES__WEB__MODE": "global"})
    shown = {setting.path: setting for setting in found.settings()}
    assert shown["services.web.mode"].value == "global"
    assert shown["services.web.mode"].source == "DEPLOYTOOL_SERVICES__WEB__MODE"
    assert "services.web.replicas" not in shown
    (web,) = found.app_spec().services
    assert web.is_global


class TestAppSpec:
    def test_what_the_file_says(self, tmp_path: Path) -> None:
        text = 'registry = "r.example.com/team/"\n' + SMALL
        spec = read(tmp_path, text + "[services.a]\ncommand = []").app_spec()
        assert spec.image == "r.example.com/team/items"
        assert [service.name for service in spec.services] == ["a", "web"]

    def test_without_an_app_anywhere(self, tmp_path: Path) -> None:
        found = read(tmp_path, 'app = "items"\n[services.web]\nport = 8000')
        with pytest.raises(UsageError):
            found.app_spec()

    def test_the_entrypoint_of_fastapi(self, tmp_path: Path) -> None:
        (tmp_path / "pyproject.toml").write_text('[tool.fastapi]\nentrypoint = "a.b:c"')
        found = read(tmp_path, 'app = "items"\n[services.web]\nport = 8000')
        assert found.app_spec().entrypoint == "a.b:c"

    def test_the_entrypoint_that_a_function_makes(self, tmp_path: Path) -> None:
        found = read(
            tmp_path, 'app = "items"\nentrypoint = "a.b:make()"\n[services.web]\nport = 8000'
        )
        spec = found.app_spec()
        assert spec.entrypoint == "a.b:make()"
        assert spec.command(spec.services[0])[:3] == ("uvicorn", "--factory", "a.b:make")

    @pytest.mark.parametrize("entrypoint", ["a.b:make(x)", "a.b:make()()", "a.b:()", "a.b()"])
    def test_what_is_no_entrypoint(self, tmp_path: Path, entrypoint: str) -> None:
        text = f'app = "items"\nentrypoint = "{entrypoint}"\n[services.web]\nport = 8000'
        with pytest.raises(ConfigError, match="entrypoint"):
            read(tmp_path, text)


class TestSchema:
    def test_it_describes_every_key(self) -> None:
        described = schema()
        for model in (described, *described["$defs"].values()):
            for name, node in model.get("properties", {}).items():
                references = [one.get("$ref", "") for one in (node, *node.get("anyOf", ()))]
                names = [reference.rpartition("/")[2] for reference in references]
                targets = [described["$defs"].get(name, {}) for name in names]
                assert any("description" in one for one in (node, *targets)), name

    def test_services_are_named_by_their_table(self) -> None:
        assert "name" not in schema()["$defs"]["Service"]["properties"]
        assert "required" not in schema()["$defs"]["Service"]

    def test_it_is_json(self) -> None:
        json.dumps(schema())


# Whatever is written, it is a configuration or mistakes in words.

KEYS = sorted(
    {
        *Config.model_fields,
        *(key for node in schema()["$defs"].values() for key in node.get("properties", ())),
        *("web", "live", "env", "name", "replcas", "A", "a b", "", "é", "\n", "a.b", "[key]", "0"),
    }
)
TEXTS = st.sampled_from(
    [
        *("", "items", "web", "/", "/health", "64MiB", "1GiB", "5s", "0s", "1h", "swarm", "nomad"),
        *("a:/a", "redis:8", "a.example.com", "app.main:app", "host", "any", "stop-first", "\0"),
        *("10.0.0.0/8", "http://u:p@h", "\U0001f680", "node.role == manager", "9" * 400 + "MiB"),
    ]
)
SCALARS = st.one_of(
    TEXTS,
    st.text(max_size=8),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 9000),
    st.floats(),
    st.booleans(),
    st.datetimes(),
    st.dates(),
    st.times(),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    ),
    max_leaves=12,
)


def near_the_schema(node: dict[str, Any], depth: int = 0) -> st.SearchStrategy[Any]:
    """Values such as the schema wants, with now and then something else in their place."""
    right = _as_described(node, depth)
    return st.integers(0, 9).flatmap(lambda n: VALUES if n == 0 else right)


def _as_described(node: dict[str, Any], depth: int) -> st.SearchStrategy[Any]:
    if "$ref" in node:
        return _as_described(DESCRIBED["$defs"][node["$ref"].rpartition("/")[2]], depth)
    if "anyOf" in node:
        choices = [one for one in node["anyOf"] if one.get("type") != "null"]
        return st.one_of([_as_described(one, depth) for one in choices])
    if "enum" in node:
        return st.sampled_from(node["enum"])
    kind = node.get("type")
    if kind == "object" and "properties" in node:
        properties = {
            key: near_the_schema(value, depth + 1) for key, value in node["properties"].items()
        }
        return st.fixed_dictionaries({}, optional=properties)
    if kind == "object":
        values = node.get("additionalProperties")
        inner = near_the_schema(values, depth + 1) if isinstance(values, dict) else VALUES
        return st.dictionaries(
            st.sampled_from(["web", "a-b", "A", "live", "x y"]), inner, max_size=2
        )
    if kind == "array":
        return st.lists(near_the_schema(node.get("items", {}), depth + 1), max_size=2)
    if kind in ("integer", "number"):
        return st.integers(0, 70_000) | st.floats(0, 2)
    return st.booleans() if kind == "boolean" else TEXTS


DESCRIBED = schema()
TABLES = st.one_of(
    st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=5), near_the_schema(DESCRIBED)
)
FUZZ = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
    ],
)


def is_told(folder: Path, environ: Environ | None = None, environment: str | None = None) -> None:
    """The configuration is valid and can be shown, or it is wrong in words."""
    try:
        found = load(folder, environ=environ or {}, environment=environment)
    except UsageError:
        return
    assert json.dumps([setting._asdict() for setting in found.settings()])
    try:
        spec = found.app_spec()
    except UsageError:
        return
    assert type(spec).model_validate_json(spec.model_dump_json()) == spec


@given(st.one_of(st.text(), st.text("[]{}=.\"'\n ab1#,\\")))
@FUZZ
def test_any_text(tmp_path: Path, text: str) -> None:
    (tmp_path / "deploytool.toml").write_bytes(text.encode("utf-8", "surrogatepass"))
    is_told(tmp_path)


@given(st.binary())
@FUZZ
def test_any_bytes(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "pyproject.toml").write_bytes(content)
    is_told(tmp_path)


@given(TABLES, st.sampled_from([None, "live", "web", ""]))
@FUZZ
@example({"environments": {"live": {"environments": {"live": 1}}}}, "live")
@example({"environments": {"live": {"services": 1}}, "services": {"web": {}}}, "live")
@example({"services": {"web": {"env": {"A": float("nan")}}}}, None)
def test_any_structure(tmp_path: Path, table: dict[str, Any], environment: str | None) -> None:
    try:
        text = tomlkit.dumps({"tool": {"deploytool": table}})
    except (ValueError, TypeError):
        return
    (tmp_path / "pyproject.toml").write_bytes(text.encode("utf-8", "surrogatepass"))
    is_told(tmp_path, environment=environment)


PATHS = st.lists(
    st.sampled_from([*(key.upper() for key in KEYS if key.isascii() and key.isprintable()), "web"]),
    max_size=5,
).map("__".join)
NAMES = st.one_of(PATHS, st.text(st.characters(exclude_characters="\0="), max_size=12))
CONTENTS = st.one_of(
    TEXTS,
    st.text(),
    st.sampled_from(["1", "true", "[]", "{}", "[1]", "nan", "1\nb = 2", "[" * 5000, "2026-01-01"]),
    st.sampled_from(['{ path = "/" }', '["a"]', "{a.a.a.a.a.a.a.a = 1}", "9" * 5000]),
)


@given(st.dictionaries(NAMES.map("DEPLOYTOOL_{}".format), CONTENTS, max_size=5))
@FUZZ
@example({"DEPLOYTOOL_": "1"})
@example({"DEPLOYTOOL_SERVICES" + "__A" * 5000: "1"})
@example({"DEPLOYTOOL_SERVICES__WEB__ENV": "{" + "a." * 400 + "a = 1}"})
@example({"DEPLOYTOOL_SERVICES__WEB": "1", "DEPLOYTOOL_SERVICES__WEB__PORT": "1"})
def test_any_variables(tmp_path: Path, environ: Environ) -> None:
    (tmp_path / "deploytool.toml").write_text(SMALL)
    is_told(tmp_path, environ)


def test_the_fuzzing_reaches_valid_configurations() -> None:
    """What is near the schema is now and then right, beyond an empty table."""

    def is_right(value: Any) -> bool:
        table = {"app": "a", "services": {"w": {"name": "w", "port": 1, "healthcheck": value}}}
        return bool(value) and not problems_of(table, {})

    assert find(
        near_the_schema(DESCRIBED["$defs"]["HealthCheck"]),
        is_right,
        settings=settings(max_examples=2000, deadline=None, database=None, derandomize=True),
    )
