from fastapi import FastAPI

from people.models import Person

app = FastAPI()


@app.post("/")
def add(person: Person) -> Person:
    return person
