"""The service of FastAPI's deployment docs, with a health check and the name of who answered."""

import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from starlette.middleware.base import RequestResponseEndpoint

logger = logging.getLogger("uvicorn.error")
REPLICA = socket.gethostname()


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    logger.info("replica %s is ready", REPLICA)
    yield
    logger.info("replica %s is done", REPLICA)


app = FastAPI(title="Items", lifespan=lifespan)


@app.middleware("http")
async def name_the_replica(request: Request, call_next: RequestResponseEndpoint) -> Response:
    response = await call_next(request)
    response.headers["X-Replica"] = REPLICA
    return response


@app.get("/")
def read_root() -> dict[str, str]:
    return {"Hello": "World"}


@app.get("/items/{item_id}")
def read_item(item_id: int, q: str | None = None) -> dict[str, int | str | None]:
    return {"item_id": item_id, "q": q}


@app.get("/health")
def read_health() -> dict[str, str]:
    return {"status": "ok", "replica": REPLICA}
