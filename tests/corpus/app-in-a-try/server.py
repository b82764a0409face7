import os

from fastapi import FastAPI

try:
    from orjson import dumps  # noqa: F401
except ImportError:
    dumps = None

if os.getenv("QUIET"):
    app = FastAPI(docs_url=None)
else:
    app = FastAPI()


@app.get("/")
def index():
    return {"hello": "tried"}
