import sys

from fastapi import FastAPI

app = FastAPI()


@app.get("/")
def index():
    return {"python": list(sys.version_info[:2])}
