from pathlib import Path

from fastapi import FastAPI

UPLOADS = Path(__file__).parent / "uploads"
UPLOADS.mkdir(exist_ok=True)
app = FastAPI()


@app.get("/")
def pictures():
    return sorted(path.stem for path in UPLOADS.iterdir())


@app.post("/pictures")
def add(name: str):
    (UPLOADS / f"{Path(name).name}.txt").write_text(name)
