"""What the documentation says is true of the code: links, commands, configuration, error codes."""

from __future__ import annotations

import ast
import os
import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import tomlkit
import typer
from typer.exceptions import TyperException

from deploytool import errors
from deploytool.backends.swarm.specification import stack
from deploytool.cli import app
from deploytool.config import load
from deploytool.spec import ProxySettings
from docs import _generate
from tests import builders

ROOT = Path(__file__).resolve().parents[2]
CODE = ROOT / "deploytool"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXTS = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in PAGES}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BEING_WRITTEN: tuple[str, ...] = ()
"""Pages that are linked to already."""


def blocks(language: str) -> list[Any]:
    """The fenced blocks of a language, each with the page it is on."""
    return [
        pytest.param(body, id=f"{page}-{number}")
        for page, text in TEXTS.items()
        for number, (name, body) in enumerate(FENCE.findall(text))
        if name == language
    ]


# --- generated pages ------------------------------------------------------------------------------


@pytest.mark.parametrize("page", _generate.PAGES)
def test_generated_parts_are_what_the_code_says(page: str) -> None:
    text, wanted = _generate.updated(page)
    if os.environ.get("UPDATE_DOCS"):
        _generate.write(page)
        return
    assert text == wanted, "run UPDATE_DOCS=1 pytest tests/unit/test_docs.py and commit the page"


def test_every_key_has_a_meaning() -> None:
    rows = [line for line in _generate.configuration().splitlines() if line.startswith("| `")]
    assert len(rows) > 70
    assert not [row for row in rows if row.endswith("|  |")]


def test_every_option_has_a_meaning() -> None:
    assert not re.findall(r"\| `[^|]*` \|  ?\|$", _generate.commands(), re.MULTILINE)


# --- links ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", TEXTS)
def test_links_lead_somewhere(page: str) -> None:
    here = (ROOT / page).parent
    text = FENCE.sub("", TEXTS[page])
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:", target) or target in BEING_WRITTEN:
            continue
        name, _, anchor = target.partition("#")
        file = (here / name).resolve() if name else ROOT / page
        assert file.exists(), f"{page} links to {target}"
        if anchor:
            assert anchor in anchors(file.read_text(encoding="utf-8")), f"{page}: {target}"


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    plain = (re.sub(r"[^\w\s-]", "", heading.lower()).strip() for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


def test_every_page_is_in_the_index() -> None:
    index = TEXTS["docs/README.md"]
    for page in TEXTS:
        if page.startswith("docs/") and page != "docs/README.md":
            assert f"({page.removeprefix('docs/')})" in index


# --- commands -------------------------------------------------------------------------------------


def command_lines() -> list[Any]:
    """Every line of a shell and every piece of inline code that calls deploytool."""
    found: dict[str, str] = {}
    for page, text in TEXTS.items():
        for language, body in FENCE.findall(text):
            if language in ("console", "bash", "sh"):
                shown = (line.removeprefix("$ ") for line in body.splitlines())
                found |= {line: page for line in shown if "deploytool " in line[:60]}
        prose = re.sub(r"^#.*$", "", FENCE.sub("", text), flags=re.MULTILINE)
        for line in re.findall(r"`(deploytool [^`\n]+)`", prose):
            found[line] = page
    return [
        pytest.param(call, id=f"{page}: {line}")
        for line, page in found.items()
        if (call := arguments(line))
    ]


def arguments(line: str) -> list[str] | None:
    """What deploytool is called with; None where the line only mentions it."""
    line = line.partition(" > ")[0]
    words = shlex.split(line, comments=True)
    while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        words = words[1:]
    if words[:3] == ["uvx", "--from", "."]:
        words = words[3:]
    if not words or words[0].rpartition("/")[2] != "deploytool" or "COMMAND" in words:
        return None
    return words[1:]


@cache
def command_line() -> Any:
    return typer.main.get_command(app)


@pytest.mark.parametrize("call", command_lines())
def test_commands_are_understood(call: list[str]) -> None:
    resolve(call)


def resolve(call: list[str]) -> None:
    """Parse a command line as far as running it; raises what typer raises."""
    command = command_line()
    path = ["deploytool"]
    if call[:1] and call[0].startswith("-"):
        known = [option for p in command.params for option in p.opts]
        assert call[0] in known
        return
    rest = list(call)
    while hasattr(command, "commands"):
        assert rest, f"{' '.join(path)} needs a command"
        assert rest[0] in command.commands, f"there is no command {' '.join([*path, rest[0]])}"
        command = command.commands[rest[0]]
        path.append(rest.pop(0))
    with command.make_context(" ".join(path), rest):
        pass


@pytest.mark.parametrize(
    "call", [["deploi"], ["plan", "--no-such-option"], ["scale"], ["render", "--backend", "k8s"]]
)
def test_mistakes_would_be_seen(call: list[str]) -> None:
    with pytest.raises((TyperException, AssertionError)):
        resolve(call)


def test_there_are_commands_to_check() -> None:
    assert len(command_lines()) > 30


def test_every_command_is_in_the_readme() -> None:
    root = command_line()
    for name in root.commands:
        assert re.search(rf"`{name}\b", TEXTS["README.md"]), f"{name} is not in the README"


def test_hints_name_commands_that_exist() -> None:
    """What an error or a rule tells people to run can be run."""
    for file in sorted(CODE.rglob("*.py")):
        for line in re.findall(r"`(deploytool [^`{}]+)`", file.read_text(encoding="utf-8")):
            call = arguments(line)
            if call:
                resolve([word for word in call if word != "…"])


# --- configuration --------------------------------------------------------------------------------


@pytest.mark.parametrize("text", blocks("toml"))
def test_configuration_examples_are_valid(text: str, tmp_path: Path) -> None:
    document = tomllib.loads(text)
    if "deploytool" not in document.get("tool", {}):
        return
    least: dict[str, Any] = {"app": "items", "services": {"web": {"port": 8000}}}
    table = merged(least, document["tool"]["deploytool"])
    fastapi = {"entrypoint": "app.main:app"}
    whole = {"tool": document["tool"] | {"fastapi": fastapi, "deploytool": table}}
    (tmp_path / "pyproject.toml").write_text(tomlkit.dumps(whole))
    for layer in (table, *table.get("environments", {}).values()):
        for service in layer.get("services", {}).values():
            for path in service.get("files", {}).values():
                (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / path).write_text("# for this test\n")
    for environment in (None, *table.get("environments", ())):
        load(tmp_path, environment=environment, environ={}).app_spec()


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """An example that shows only a part, made whole."""
    found = dict(below)
    for key, value in above.items():
        inner = found.get(key)
        both = isinstance(value, dict) and isinstance(inner, dict)
        found[key] = merged(inner, value) if both and isinstance(inner, dict) else value
    return found


# --- error codes ----------------------------------------------------------------------------------


@cache
def codes_in_the_code() -> dict[str, set[int]]:
    """Every error code, with the exit codes of the classes that are raised with it."""
    found: dict[str, set[int]] = {"config_invalid": {errors.ExitCode.USAGE}}
    for file in sorted(CODE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            for keyword in node.keywords:
                if keyword.arg == "code":
                    for code in texts(keyword.value):
                        found.setdefault(code, set()).update(exit_codes(node.func))
    for _, code, _, _ in registry_failures():
        found.setdefault(code, set()).add(errors.RegistryError.exit_code)
    return found


def texts(node: ast.expr) -> Iterator[str]:
    """The texts that an expression can be: not those of its condition."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    if isinstance(node, ast.IfExp):
        yield from texts(node.body)
        yield from texts(node.orelse)


def exit_codes(function: ast.expr) -> Iterator[int]:
    kind = getattr(errors, getattr(function, "id", ""), None)
    if isinstance(kind, type) and issubclass(kind, errors.DeploytoolError):
        yield int(kind.exit_code)


def registry_failures() -> list[Any]:
    """Codes that are passed on through a table."""
    from deploytool.image.failures import _registry_failures
    from deploytool.image.reference import Reference

    return _registry_failures(Reference.parse("localhost:5000/items:1"))


def documented_codes() -> dict[str, str]:
    rows = re.findall(
        r"^\| `([a-z_]+)` \| ([0-9 or]+) \|", TEXTS["docs/troubleshooting.md"], re.MULTILINE
    )
    return dict(rows)


def test_every_error_code_is_documented() -> None:
    assert sorted(codes_in_the_code()) == sorted(documented_codes())


def test_documented_exit_codes_are_right() -> None:
    documented = documented_codes()
    for code, exits in codes_in_the_code().items():
        known = {int(number) for number in documented[code].split(" or ")}
        assert exits <= known, f"{code} exits with {exits}, the page says {known}"


def test_codes_are_passed_on_in_known_places_only() -> None:
    """Else a code could escape `codes_in_the_code`."""
    files = {
        str(file.relative_to(CODE))
        for file in CODE.rglob("*.py")
        if re.search(r"\bcode=code\b", file.read_text(encoding="utf-8"))
    }
    assert files == {"errors.py", "image/failures.py"}


def test_every_exit_code_is_documented() -> None:
    page = TEXTS["docs/commands.md"].partition("## Exit codes")[2].partition("\n## ")[0]
    assert re.findall(r"^\| (\d+) \|", page, re.MULTILINE) == [str(int(c)) for c in errors.ExitCode]


def test_what_refuses_without_yes_is_listed() -> None:
    """Each command whose function asks for what cannot be undone."""
    found = set()
    for file in sorted((CODE / "cli").glob("*.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and "require_confirmation(" in ast.unparse(node):
                found |= {
                    re.match("deploytool ([a-z]+( [a-z]+)?)", word.value)[1]  # type: ignore[index]
                    for decorator in node.decorator_list
                    if isinstance(decorator, ast.Call)
                    for word in decorator.args[1:2]
                    if isinstance(word, ast.Constant) and isinstance(word.value, str)
                }
    line = next(x for x in TEXTS["docs/commands.md"].splitlines() if "refuse unless" in x)
    listed = line.partition("go ahead; ")[2].partition(" refuse unless")[0]
    assert found == set(re.findall(r"`([^`]+)`", listed))


# --- the proxy ------------------------------------------------------------------------------------

OTHER_PROXY: dict[str, Any] = {
    "network": "other",
    "subnet": "10.9.0.0/20",
    "encrypted": True,
    "http_port": 8080,
    "https_port": 8443,
    "email": "ops@example.com",
    "acme_directory": "https://ca.example.com/directory",
    "acme_ca": "CA",
    "acme_profile": "shortlived",
    "certificate_lifetime": "24h",
    "dns_provider": "cloudflare",
    "dns_secrets": ["TOKEN"],
    "dns_resolvers": ["192.0.2.53:53"],
    "dns_check": False,
    "certificates": ["example.com"],
    "hsts": "1d",
    "trusted_proxies": ["192.0.2.0/24"],
    "env": {"A": "b"},
    "read_timeout": "1m",
    "access_log": False,
    "image": "traefik:v3.8",
    "socket_proxy_image": "haproxy:3.2-alpine",
    "constraints": ["node.hostname == a"],
    "namespaces": ["other"],
}
"""Each key of [tool.deploytool.proxy], set to something else."""


def test_settings_of_the_proxy_that_apps_follow_are_listed() -> None:
    """What a deploy of each app has to follow `proxy up` for."""
    served = builders.service(domains=["*.example.com"])

    def stack_of(**settings: Any) -> Any:
        return stack.document(builders.app(served, proxy=ProxySettings.model_validate(settings)))

    found = set()
    for key, value in OTHER_PROXY.items():
        before: dict[str, Any] = {}
        if key.startswith(("acme", "dns", "certificate_", "hsts", "https")):
            before["email"] = "ops@example.com"
        if key in ("dns_secrets", "dns_resolvers"):
            before["dns_provider"] = "cloudflare"
        if stack_of(**before) != stack_of(**before, **{key: value}):
            found.add(key)
    assert OTHER_PROXY.keys() == ProxySettings.model_fields.keys()
    (line,) = re.findall(r"An app's own routes.* follow (.*) too:", TEXTS["docs/https.md"])
    assert found == set(re.findall(r"`([a-z_]+)`", line))
