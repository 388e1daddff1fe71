"""Prints a line each 100 ms, for ever."""

import time

n = 0
while True:
    n += 1
    print(f"python {n}", flush=True)
    time.sleep(0.1)
