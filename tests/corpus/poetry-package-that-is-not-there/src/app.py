from config.names import GREETING
from fastapi import FastAPI

app = FastAPI()


@app.get("/")
def read() -> str:
    return GREETING
