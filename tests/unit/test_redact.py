"""Which names are those of secrets: for advice by whole words, for hiding a value by parts too."""

from __future__ import annotations

import time

import pytest

from deploytool.redact import MASK, hide_passwords, mask, names_secret

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
