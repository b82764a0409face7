from fastapi import FastAPI

from extras import WORD

app = FastAPI()


@app.get("/")
def index():
    return WORD
