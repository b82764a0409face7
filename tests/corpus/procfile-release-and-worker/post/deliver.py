import time

while True:
    print("delivering", flush=True)
    time.sleep(5)
