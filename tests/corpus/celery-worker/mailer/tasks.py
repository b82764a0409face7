import os

from celery import Celery

celery_app = Celery("mailer", broker=os.getenv("BROKER_URL", "memory://"))


@celery_app.task
def send(to: str) -> None:
    print("mail to", to)
