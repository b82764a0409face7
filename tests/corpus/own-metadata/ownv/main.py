from importlib.metadata import version

from fastapi import FastAPI

app = FastAPI(version=version("own-version"))


@app.get("/")
def index():
    return {"version": app.version}
