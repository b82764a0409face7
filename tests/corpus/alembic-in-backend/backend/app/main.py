from fastapi import FastAPI

from app.core import NAME

app = FastAPI()


@app.get("/")
def index():
    return NAME
