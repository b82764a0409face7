from fastapi import FastAPI

from tide_tables import __version__


def make_service() -> FastAPI:
    return FastAPI(version=__version__)


service = make_service()


@service.get("/")
def index() -> dict[str, str]:
    return {"version": __version__}
