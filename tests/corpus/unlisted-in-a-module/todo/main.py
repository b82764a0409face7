from fastapi import FastAPI

from todo.routes import lists

app = FastAPI()
app.include_router(lists.router)
