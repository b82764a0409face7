from fastapi import FastAPI

from weather.log import log

app = FastAPI()


@app.get("/")
def index():
    log.info("asked")
    with open("logs/weather.log") as file:
        return {"lines": len(file.readlines())}
