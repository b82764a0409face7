from fastapi import APIRouter
from sqlmodel import Field, SQLModel

router = APIRouter()


class TodoList(SQLModel, table=True):
    id: int | None = Field(default=None, primary_key=True)
    title: str


@router.get("/")
def index():
    return {"table": TodoList.__tablename__, "what": "lists"}
