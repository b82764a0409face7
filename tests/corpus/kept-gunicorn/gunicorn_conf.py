bind = "0.0.0.0:5000"
workers = 1
worker_class = "uvicorn_worker.UvicornWorker"
accesslog = "access.log"
