from pathlib import Path

from sqlalchemy import create_engine

FOLDER = Path(__file__).resolve().parent.parent / "data"
FOLDER.mkdir(exist_ok=True)
engine = create_engine(f"sqlite:///{FOLDER}/stock.db")
