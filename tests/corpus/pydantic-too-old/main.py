from __future__ import annotations

from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class Node(BaseModel):
    children: list[Node] = []


Node.update_forward_refs()


@app.get("/")
def read() -> Node:
    return Node(children=[Node()])
