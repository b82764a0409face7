ROOMS = ["rooms"]
