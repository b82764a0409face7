"""An app that answers quickly, slowly, in parts and over WebSockets, and says when it ends well.

It takes the place of app/main.py in a copy of the example.
"""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

logger = logging.getLogger("uvicorn.error")
REPLICA = socket.gethostname()


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    logger.info("replica %s is ready", REPLICA)
    yield
    await asyncio.sleep(0.2)  # closing a pool of connections takes its time too
    logger.info("replica %s is done", REPLICA)


app = FastAPI(title="Load", lifespan=lifespan)


class Item(BaseModel):
    name: str
    price: float


@app.get("/")
async def read_root() -> dict[str, str]:
    return {"replica": REPLICA}


@app.get("/health")
async def read_health() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/items", status_code=201)
async def create_item(item: Item) -> Item:
    return item


@app.get("/slow")
async def read_slowly(seconds: float) -> dict[str, float]:
    await asyncio.sleep(seconds)
    return {"seconds": seconds}


@app.get("/stream")
async def read_stream(seconds: float) -> StreamingResponse:
    return StreamingResponse(parts(seconds), media_type="text/plain")


async def parts(seconds: float) -> AsyncIterator[str]:
    for number in range(max(1, round(seconds * 10))):
        await asyncio.sleep(0.1)
        yield f"{number}\n"


@app.websocket("/ws")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            await websocket.send_text(await websocket.receive_text())
    except WebSocketDisconnect:
        pass
