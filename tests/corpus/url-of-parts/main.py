from fastapi import FastAPI

from database import engine

app = FastAPI()


@app.get("/")
def read() -> str:
    return engine.url.host
