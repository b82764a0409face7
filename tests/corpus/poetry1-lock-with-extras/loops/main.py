import asyncio

from fastapi import FastAPI

app = FastAPI()


@app.get("/")
async def index():
    return {"loop": type(asyncio.get_running_loop()).__module__}
