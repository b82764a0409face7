from fastapi import FastAPI

from shop.db import engine

app = FastAPI()


@app.get("/")
def index():
    return {"driver": engine.url.drivername}
