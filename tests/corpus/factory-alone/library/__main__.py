import uvicorn

if __name__ == "__main__":
    uvicorn.run("library.web:create_app", factory=True, reload=True)
