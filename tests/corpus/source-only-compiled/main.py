import MySQLdb
from fastapi import FastAPI

app = FastAPI()


@app.get("/")
def index():
    return {"mysqlclient": list(MySQLdb.version_info[:3])}
