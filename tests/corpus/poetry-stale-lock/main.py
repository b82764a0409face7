import roman
from fastapi import FastAPI

app = FastAPI()


@app.get("/")
def index():
    return {"roman": roman.toRoman(1987)}
