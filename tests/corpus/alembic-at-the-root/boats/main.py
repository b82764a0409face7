from fastapi import FastAPI

app = FastAPI()


@app.get("/")
def index():
    return {"hello": "boats"}


@app.get("/health")
def health():
    return {"status": "up"}
