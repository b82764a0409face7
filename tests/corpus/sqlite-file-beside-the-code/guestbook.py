import sqlite3

from fastapi import FastAPI

book = sqlite3.connect("guests.sqlite3", check_same_thread=False)
book.execute("create table if not exists guest (name text)")
app = FastAPI()


@app.get("/")
def guests():
    return [name for (name,) in book.execute("select name from guest")]


@app.post("/guests")
def sign(name: str):
    book.execute("insert into guest values (?)", (name,))
    book.commit()
