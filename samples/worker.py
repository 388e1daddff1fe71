"""A worker without a network: counts primes, logs what it found, and complains now and then."""

import sys
import time


def is_prime(n: int) -> bool:
    return n > 1 and all(n % d for d in range(2, int(n**0.5) + 1))


def main() -> None:
    n = 0
    found = 0
    while True:
        for _ in range(2000):
            n += 1
            found += is_prime(n)
        print(f"{found} primes up to {n}", flush=True)
        if n % 60000 == 0:
            print("that was a lot of numbers", file=sys.stderr, flush=True)
        time.sleep(1)


if __name__ == "__main__":
    main()
