import docopt
from fastapi import FastAPI

USAGE = """Usage: fleet <kind>"""
app = FastAPI()


@app.get("/")
def index():
    return docopt.docopt(USAGE, ["naval"])
