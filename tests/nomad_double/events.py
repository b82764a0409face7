"""The event stream (nomad/stream/event_broker.go)."""

from __future__ import annotations

import asyncio
import json
import time
from bisect import bisect_right
from collections.abc import AsyncIterator, Iterable
from itertools import groupby
from operator import itemgetter

from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from tests.nomad_double.cluster import Cluster
from tests.nomad_double.state import EVENTS_KEPT, Json

HEARTBEAT = 30.0
"""Seconds between `{}`, of which the first comes at once."""
PAUSE = 0.01


def add_events(app: FastAPI, cluster: Cluster) -> None:
    from tests.nomad_double.server import namespace_of

    @app.get("/v1/event/stream")
    async def stream(request: Request) -> Response:
        """One line for the events of each index. Index 0 replays what is kept."""
        topics = [topic.partition(":") for topic in request.query_params.getlist("topic")]
        wanted = {(name, key or "*") for name, _, key in topics} or {("*", "*")}
        since = int(request.query_params.get("index") or 0)
        lines = _lines(cluster, wanted, namespace_of(request), since)
        return StreamingResponse(lines, media_type="application/json")


async def _lines(
    cluster: Cluster, wanted: set[tuple[str, str]], namespace: str, since: int
) -> AsyncIterator[bytes]:
    spoken = 0.0
    state = cluster.state
    with state.changed:
        kept = state.events[-EVENTS_KEPT:]
    since = max(since, kept[0]["Index"] - 1 if kept else 0)
    while not cluster.closing:
        with state.changed:
            begin = bisect_right(state.events, since, key=itemgetter("Index"))
            found = state.events[begin:]
        for index, together in groupby(found, key=itemgetter("Index")):
            own = [event for event in together if _matches(event, wanted, namespace)]
            if own:
                spoken = time.monotonic()
                yield json.dumps({"Index": index, "Events": own}).encode() + b"\n"
            since = index
        if time.monotonic() - spoken > HEARTBEAT:
            spoken = time.monotonic()
            yield b"{}\n"
        await asyncio.sleep(PAUSE)


def _matches(event: Json, wanted: Iterable[tuple[str, str]], namespace: str) -> bool:
    if event["Namespace"] and namespace not in ("*", event["Namespace"]):
        return False
    keys = {"*", event["Key"], *(event["FilterKeys"] or ())}
    return any(topic in ("*", event["Topic"]) and key in keys for topic, key in wanted)
