from fastapi import FastAPI


def create_app() -> FastAPI:
    app = FastAPI(title="Library")

    @app.get("/")
    def index():
        return {"made by": "factory"}

    @app.get("/health")
    def health():
        return {"status": "up"}

    return app
