"""Which names are those of secrets: for advice by whole words, for hiding a value by parts too."""

from __future__ import annotations

import time

import pytest

from deploytool.redact import (
    MASK,
    hide_assignments,
    hide_entries,
    hide_passwords,
    is_plain,
    mask,
    names_secret,
)

SECRETS = (
    *("TOKEN", "API_TOKEN", "api-token", "apiToken", "APIToken", "MYTOKEN", "TOKENS", "TOKEN_2"),
    *("HF_TOKEN", "AUTHTOKEN", "PASSWORD", "PGPASSWORD", "DB_PASSWD", "dbPassword", "PASSWORDS"),
    *("SECRET_KEY", "SECRETKEY", "CLIENTSECRET", "OPENAI_API_KEY", "apiKey", "AWS_ACCESS_KEY_ID"),
    *("PRIVATE_KEY", "GOOGLE_CREDENTIALS", "SENTRY_DSN", "passphrase"),
)
OTHERS = (
    *("DOWNLOAD_TIKTOKEN_CACHE", "TIKTOKEN_ENCODINGS", "tiktokenCache", "TOKENIZERS_PARALLELISM"),
    *("SECRETARY_EMAIL", "PASSWORDLESS_LOGIN", "DB_PASSWORD_FILE", "DSN_FORMAT", "KEY", "PATH"),
)


@pytest.mark.parametrize("name", SECRETS)
def test_a_word_names_a_secret(name: str) -> None:
    assert names_secret(name)


@pytest.mark.parametrize("name", OTHERS)
def test_a_part_of_a_word_names_none(name: str) -> None:
    assert not names_secret(name)


def test_a_value_that_may_be_a_secret_is_hidden() -> None:
    assert mask("DISCORDTOKEN", "hunter2") == MASK
    assert mask("LOG_LEVEL", "info") == "info"


def test_long_text_is_read_in_no_time() -> None:
    """A pattern that begins anew at each letter takes minutes for it."""
    before = time.process_time()
    assert hide_passwords("a" * 200_000) == "a" * 200_000
    assert time.process_time() - before < 1


@pytest.mark.parametrize(
    "name",
    [
        *("DB_PASS", "MYSQL_PWD", "JWT_KEY", "SESSION_KEY", "GITHUB_PAT", "AUTH", "HTTP_AUTH"),
        *("ENCRYPTION_KEY", "PASSWORD_SALT", "SESSION_COOKIE", "AZURE_SAS", "SLACK_WEBHOOK_URL"),
        *("DB_PASS_2", "DB_PASS2", "DBPASS", "PGPASS", "SESSIONKEY", "PASSCODE", "JWT_KEYS_1"),
        *("SQL_CONNECTION_STRING", "traefik.http.middlewares.auth.basicauth.users", "jwtKey"),
    ],
)
def test_value_of_a_usual_name_is_hidden(name: str) -> None:
    assert mask(name, "hunter2") == MASK


@pytest.mark.parametrize(
    "name",
    [
        *("LOG_LEVEL", "PATH", "AUTHOR", "KEYBOARD", "PUBLIC_KEY", "STRIPE_PUBLISHABLE_KEY"),
        *("MONKEY", "PUBLIC_KEY_2", "ENCOMPASS", "KEYBOARD_2", "AUTH_URL_2"),
        *("COMPASS", "PATTERN", "BYPASS_CACHE", "JWT_KEY_FILE", "AUTH_URL", "HASHING"),
    ],
)
def test_value_of_another_name_is_shown(name: str) -> None:
    assert mask(name, "info") == "info"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgres://u:le@k10/x@db/app", f"postgres://u:{MASK}@db/app"),
        ("postgres://u:hunter2@db/app", f"postgres://u:{MASK}@db/app"),
        ("postgres://u@corp:hunter2@db/x", f"postgres://u@corp:{MASK}@db/x"),
        ("postgres://u:1234/ab@db/x", f"postgres://u:{MASK}@db/x"),
        ("postgres://db:5432/app?user=a@b", "postgres://db:5432/app?user=a@b"),
        ("http://web:8080/@scope/x", "http://web:8080/@scope/x"),
        ("https://hunter2@index.example/simple", f"https://{MASK}@index.example/simple"),
        ("https://git@github.com/a/b and https://x.io/@a",
         "https://git@github.com/a/b and https://x.io/@a"),
        ("Password='a;b';Server=x", f"Password={MASK};Server=x"),
        ("authorization: Basic hunter", f"authorization: Basic {MASK}"),
        ('{"Authorization": "hunter"}', f'{{"Authorization": "{MASK}"}}'),
        ("Bearer abcdefghijklmnopqrstuvwxyz", f"Bearer {MASK}"),
        ("redis://:hunter2@cache:6379/0", f"redis://:{MASK}@cache:6379/0"),
        ("http://web:8080/users?mail=a@b.example", "http://web:8080/users?mail=a@b.example"),
        ("http://[::1]:8080/", "http://[::1]:8080/"),
        ("Server=db;User=sa;Password=hunter2;Encrypt=no",
         f"Server=db;User=sa;Password={MASK};Encrypt=no"),
        ("AccountName=a;AccountKey=aGVsbG8=;x", f"AccountName=a;AccountKey={MASK};x"),
        ("Basic dXNlcjpodW50ZXIy", f"Basic {MASK}"),
        ("Authorization: Bearer abc.d3f.ghi", f"Authorization: Bearer {MASK}"),
        ("ann:$apr1$H6uskkkW$IgXLP6ewTrSuBkTrqE8wj/", f"ann:{MASK}"),
        ("ann:$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC", f"ann:{MASK}"),
        ("x ghp_0123456789abcdef", f"x {MASK}"),
        ("AKIAIOSFODNN7EXAMPLE", MASK),
        ("basic information about tokens = none yet", "basic information about tokens = none yet"),
        ("costs $1 and $2", "costs $1 and $2"),
        ("https://api.example.com/v1", "https://api.example.com/v1"),
    ],
)  # fmt: skip
def test_what_says_itself_that_it_is_a_secret_is_hidden(text: str, shown: str) -> None:
    assert hide_passwords(text) == shown


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((value, True) for value in (None, "", 5, "12", "0.5", "30s", "64MiB", "true", "OFF")),
        *(
            (value, True)
            for value in ("info", "WARNING", "production", "localhost:8000", "db.x.io")
        ),
        *((value, True) for value in ("https://api.example.com", "10.0.0.1:5432")),
        *((value, False) for value in ("hunter2", "correct horse", "s3cr3t", "a.b.c1", "eyJ.a.b")),
        *(
            (value, False)
            for value in ("postgres://db/app", "https://a.example/x?k=1", "12345678901234")
        ),
    ],
)
def test_value_that_is_plainly_no_secret(value: object, expected: bool) -> None:
    assert is_plain(value) is expected


@pytest.mark.parametrize("text", ["a." * 40_000, "1" * 100_000, "a-" * 50_000 + "!"])
def test_telling_plain_values_is_linear(text: str) -> None:
    before = time.process_time()
    is_plain(text)
    assert time.process_time() - before < 2


@pytest.mark.parametrize(
    "text", ["://a:" * 40_000, "password=" * 20_000, "basic " * 30_000, "authorization: " * 15_000]
)
def test_patterns_are_linear(text: str) -> None:
    before = time.process_time()
    hide_passwords(text)
    assert time.process_time() - before < 2


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("ENV API_TOKEN=hunter2 LOG_LEVEL=debug", f"ENV API_TOKEN={MASK} LOG_LEVEL=debug"),
        ('ENV DB_PASSWORD="hunter2 and more" A=1', f"ENV DB_PASSWORD={MASK} A=1"),
        ("ENV SECRET_KEY hunter2 and more", f"ENV SECRET_KEY {MASK}"),
        ("ARG GITHUB_TOKEN=hunter2", f"ARG GITHUB_TOKEN={MASK}"),
        ("    API_KEY='hunter2'\"hunter2\" \\", f"    API_KEY={MASK} \\"),
        ('CMD ["app", "--token=hunter2"]', f'CMD ["app", "--token={MASK}'),
        ("RUN pip install -i https://me:hunter2@a.example x", f"https://me:{MASK}@a.example x"),
        ("ENV API_TOKEN_FILE=/run/secrets/API_TOKEN", "ENV API_TOKEN_FILE=/run/secrets/API_TOKEN"),
        ("ENV USE_TOKEN=true", "ENV USE_TOKEN=true"),
        ("FROM python:3.13-slim AS base", "FROM python:3.13-slim AS base"),
    ],
)
def test_lines_of_a_dockerfile(line: str, shown: str) -> None:
    found = hide_assignments(line)
    assert "hunter2" not in found
    assert found.endswith(shown)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("-      DB_PASS: hunter2", f"-      DB_PASS: {MASK}"),
        ('+      "API_TOKEN": "hunter2",', f'+      "API_TOKEN": {MASK}'),
        ('+        SECRET_KEY   = "hunter2"', f"+        SECRET_KEY   = {MASK}"),
        ("+      DATABASE_URL: postgres://u:hunter2@db/x", f"postgres://u:{MASK}@db/x"),
        ("       LOG_LEVEL: info", "       LOG_LEVEL: info"),
        ("     secrets:", "     secrets:"),
        ("       USE_TOKEN: true", "       USE_TOKEN: true"),
        ("--- stacks/items.yml (on disk)", "--- stacks/items.yml (on disk)"),
    ],
)
def test_lines_of_a_rendered_file(line: str, shown: str) -> None:
    found = hide_entries(line)
    assert "hunter2" not in found
    assert found.endswith(shown)
