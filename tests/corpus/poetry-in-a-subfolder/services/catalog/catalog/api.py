import humanize
from fastapi import FastAPI

app = FastAPI()


@app.get("/")
def index():
    return {"catalog": humanize.intcomma(12_000)}
