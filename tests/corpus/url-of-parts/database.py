import os

from sqlalchemy import create_engine


class Settings:
    HOST = os.getenv("SHOP_DB_HOST")
    PORT = os.getenv("SHOP_DB_PORT")


settings = Settings()
engine = create_engine(f"postgresql+psycopg2://shop@{settings.HOST}:{settings.PORT}/shop")
