from fastapi import FastAPI
from sqlalchemy.ext.asyncio import create_async_engine

engine = create_async_engine("sqlite+aiosqlite://")
app = FastAPI()


@app.get("/")
async def index():
    async with engine.connect() as connection:
        return {"driver": connection.dialect.driver}
