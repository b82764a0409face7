import asyncpg
from fastapi import FastAPI

app = FastAPI()


@app.get("/")
def index():
    return {"asyncpg": asyncpg.__version__}
