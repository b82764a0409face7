NAME = "backend boats"
