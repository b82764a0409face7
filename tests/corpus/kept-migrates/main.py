import sqlite3

from fastapi import FastAPI

app = FastAPI()


@app.get("/")
def index():
    rows = sqlite3.connect("boats.db").execute("select name from sqlite_master").fetchall()
    return [row[0] for row in rows]
