from fastapi import FastAPI

from webapi.core.rooms import ROOMS

app = FastAPI()


@app.get("/")
def index():
    return ROOMS
