from apscheduler.schedulers.background import BackgroundScheduler
from fastapi import FastAPI

scheduler = BackgroundScheduler()
app = FastAPI()


@app.get("/")
def index():
    return {"jobs": len(scheduler.get_jobs())}
