from fastapi import FastAPI

from api.files import router

app = FastAPI()
app.include_router(router)
