import pkg_resources
from fastapi import FastAPI

app = FastAPI()


@app.get("/")
def index():
    return {"name": pkg_resources.get_distribution("fastapi").project_name}
