import orjson

ORDERS = orjson.loads(b'["orders"]')
