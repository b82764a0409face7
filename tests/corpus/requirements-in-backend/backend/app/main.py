from fastapi import FastAPI

from app.store import ORDERS

app = FastAPI()


@app.get("/")
def index():
    return ORDERS


@app.get("/health")
def health():
    return {"status": "up"}
