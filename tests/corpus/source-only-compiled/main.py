import MySQLdb
from fastapi import FastAPI

app = FastAPI()


@app.get("/")
def index():
    return {"mysqlclient": MySQLdb.__version__}
