from fastapi import FastAPI, Request
from fastapi.templating import Jinja2Templates

app = FastAPI()
pages = Jinja2Templates(directory="templates")


@app.get("/")
def index(request: Request):
    return pages.TemplateResponse(request, "index.html", {"title": "Garden"})
