"""A Nomad cluster that is asked once: further questions of the same words get the same answers."""

from __future__ import annotations

import json
from typing import Any

import requests

from deploytool.backends.nomad.api.client import Client
from deploytool.backends.nomad.api.connection import Connection


class KeptAnswers(Client):
    """Keeps each answer as the bytes that came, so that reading it takes what it takes."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._kept: dict[str, requests.Response] = {}

    def forget(self) -> None:
        self._kept.clear()

    def _send(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        params: dict[str, str] | None = None,
        **keys: Any,
    ) -> requests.Response:
        question = json.dumps([method, path, params, body])
        if question not in self._kept:
            self._kept[question] = super()._send(method, path, body=body, params=params, **keys)
        return self._kept[question]
