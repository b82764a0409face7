import logging
import os
from logging.handlers import RotatingFileHandler

os.makedirs("logs", exist_ok=True)
log = logging.getLogger("weather")
log.addHandler(RotatingFileHandler("logs/weather.log", maxBytes=100_000))
log.setLevel(logging.INFO)
