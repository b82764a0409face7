from fastapi import FastAPI

from mailer.tasks import send

app = FastAPI()


@app.get("/")
def index():
    return {"queued": send.name}
