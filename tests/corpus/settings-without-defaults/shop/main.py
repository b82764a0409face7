from fastapi import FastAPI

from shop.settings import settings

app = FastAPI()


@app.get("/")
def index():
    return {"sender": settings.sender}
