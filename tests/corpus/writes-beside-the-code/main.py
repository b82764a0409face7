import json

from fastapi import FastAPI

with open("state.json", "w") as file:
    json.dump({"state": "started"}, file)
app = FastAPI()


@app.get("/")
def index():
    with open("state.json") as file:
        return json.load(file)
