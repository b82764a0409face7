from fastapi import FastAPI

from app.names import NAME

app = FastAPI()


@app.get("/")
def index():
    return NAME
