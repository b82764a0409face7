import magic
from fastapi import FastAPI

PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489")
app = FastAPI()


@app.get("/")
def index():
    return {"kind": magic.from_buffer(PNG, mime=True)}
