import tomllib
from pathlib import Path

from fastapi import FastAPI

HERE = Path(__file__).resolve().parent
with open(HERE.parent / "pyproject.toml", "rb") as file:
    VERSION = tomllib.load(file)["project"]["version"]
ABOUT = Path("README.md").read_text().strip()
WORDS = (HERE / "words.txt").read_text().strip()
app = FastAPI(version=VERSION, description=ABOUT)


@app.get("/")
def index():
    return f"{VERSION} {ABOUT} {WORDS}"
