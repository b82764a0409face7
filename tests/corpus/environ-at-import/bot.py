import os

from fastapi import FastAPI

TOKEN = os.environ["BOT_TOKEN"]
CHANNEL = os.environ["CHANNEL"]
LEVEL = os.environ.get("LOG_LEVEL", "info")
app = FastAPI()


@app.get("/")
def index():
    return {"channel": CHANNEL, "level": LEVEL}
