from fastapi import FastAPI
from sqlalchemy import text

from stock.database import engine

with engine.begin() as connection:
    connection.execute(text("create table if not exists item (name text)"))
app = FastAPI()


@app.get("/")
def items():
    with engine.connect() as connection:
        return [row[0] for row in connection.execute(text("select name from item"))]


@app.post("/items")
def add(name: str):
    with engine.begin() as connection:
        connection.execute(text("insert into item values (:name)"), {"name": name})
