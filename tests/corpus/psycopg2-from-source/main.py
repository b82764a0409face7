import psycopg2
from fastapi import FastAPI

app = FastAPI()


@app.get("/")
def index():
    return {"module": psycopg2.__name__}
