import os

from sqlalchemy.ext.asyncio import create_async_engine

URL = os.getenv("DATABASE_URL", "postgresql+asyncpg://shop:shop@db/shop")
engine = create_async_engine(URL)
