from fastapi import FastAPI
from starlette.config import Config

app = FastAPI()
settings = Config(".env")
GREETING = settings("GREETING", default="hello")


@app.get("/")
def read() -> str:
    return GREETING
