from fastapi import FastAPI

from src.prices import WHAT

app = FastAPI()


@app.get("/")
def index():
    return WHAT
