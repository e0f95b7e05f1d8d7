"""One figure of one pool of Python: `peers.py FIGURE PEER` prints a number. `make bench` runs it, beside ours.

Tasks per second, seconds or bytes per second, as the figure's unit says. Pools are warm unless it is their start that
is measured, and every run ends with a check of its results.
"""

import multiprocessing
import os
import signal
import statistics
import sys
import time

WORKERS = 2


def same(x):
    return x


def nap(seconds):
    time.sleep(seconds)
    return os.getpid()


def timed(work, check):
    began = time.perf_counter()
    result = work()
    took = time.perf_counter() - began
    assert check(result), "the results are wrong"
    return took


def pool(workers=WORKERS):
    made = multiprocessing.Pool(workers)
    made.map(same, range(workers), chunksize=1)
    return made


def executor(peer, workers=WORKERS):
    if peer == "loky":
        from loky import get_reusable_executor

        made = get_reusable_executor(max_workers=workers)
    elif peer == "pebble":
        from pebble import ProcessPool

        made = ProcessPool(max_workers=workers)
        made.submit = lambda function, argument: made.schedule(function, args=[argument])
    else:
        from concurrent.futures import ProcessPoolExecutor

        made = ProcessPoolExecutor(workers)
    for future in [made.submit(same, n) for n in range(workers)]:
        future.result()
    return made


def sum_below(n):
    return n * (n - 1) // 2


def map_automatic(peer):
    if peer == "mp.Pool":
        n, made = 2_000_000, pool()
        took = timed(lambda: sum(made.map(same, range(n))), lambda it: it == sum_below(n))
    elif peer == "joblib":
        from joblib import Parallel, delayed

        n = 200_000
        with Parallel(n_jobs=WORKERS) as made:
            made(delayed(same)(k) for k in range(WORKERS))
            took = timed(lambda: sum(made(delayed(same)(k) for k in range(n))), lambda it: it == sum_below(n))
    else:
        n, made = 300_000, executor(peer)
        took = timed(lambda: sum(made.map(same, range(n), chunksize=100)), lambda it: it == sum_below(n))
    return n / took


def map_singly(peer):
    n, made = 50_000, pool()
    if peer == "imap_unordered":
        work = lambda: sum(made.imap_unordered(same, range(n), chunksize=1))
    else:
        work = lambda: sum(made.map(same, range(n), chunksize=1))
    return n / timed(work, lambda it: it == sum_below(n))


def submit(peer):
    n = 20_000
    if peer == "mp.Pool":
        made = pool()
        work = lambda: sum(it.get() for it in [made.apply_async(same, (k,)) for k in range(n)])
    else:
        made = executor(peer)
        work = lambda: sum(it.result() for it in [made.submit(same, k) for k in range(n)])
    return n / timed(work, lambda it: it == sum_below(n))


def round_trip(peer):
    if peer == "mp.Pool":
        made = pool()
        once = lambda: made.apply(same, (7,))
    else:
        made = executor(peer)
        once = lambda: made.submit(same, 7).result()
    return statistics.median(timed(once, lambda it: it == 7) for _ in range(2_000))


def ready(peer, workers):
    """From nothing to an answer of each worker, less the nap that makes each take one."""
    seconds = 0.05
    began = time.perf_counter()
    if peer == "mp.Pool":
        made = multiprocessing.Pool(workers)
        pids = set(made.map(nap, [seconds] * workers, chunksize=1))
    else:
        from concurrent.futures import ProcessPoolExecutor

        made = ProcessPoolExecutor(workers)
        pids = {it.result() for it in [made.submit(nap, seconds) for _ in range(workers)]}
    took = time.perf_counter() - began - seconds
    assert len(pids) == workers, f"{len(pids)} of {workers} answered"
    return took


def echo_pipe(end):
    while (data := end.recv_bytes()) != b"stop":
        end.send_bytes(data)


def there_and_back(peer, size):
    rounds, data = max(4, (128 << 20) // size), bytes(size)
    if peer == "mp.Pipe":
        ours, theirs = multiprocessing.Pipe()
        child = multiprocessing.Process(target=echo_pipe, args=(theirs,), daemon=True)
        child.start()

        def once():
            # Both at once would fill both pipes; whoever is larger than a pipe is read while it is written.
            ours.send_bytes(data)
            return ours.recv_bytes()

    elif peer == "mp.Pool":
        made = pool()
        once = lambda: made.apply(same, (data,))
    else:
        made = executor(peer)
        once = lambda: made.submit(same, data).result()
    once()
    took = timed(lambda: [len(once()) for _ in range(rounds)], lambda it: it == [size] * rounds)
    return 2 * size * rounds / took


def private_memory(peer):
    made = pool()
    pids = {it.pid for it in multiprocessing.active_children()}
    assert len(pids) == WORKERS and made
    return statistics.median(private_bytes(pid) for pid in pids)


def private_bytes(pid):
    with open(f"/proc/{pid}/smaps_rollup") as lines:
        return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


FIGURES = {
    "map": map_automatic,
    "map-singly": map_singly,
    "submit": submit,
    "round-trip": round_trip,
    "ready-2": lambda peer: ready(peer, 2),
    "ready-8": lambda peer: ready(peer, 8),
    "ready-64": lambda peer: ready(peer, 64),
    "echo-1M": lambda peer: there_and_back(peer, 1 << 20),
    "echo-64M": lambda peer: there_and_back(peer, 64 << 20),
    "private": private_memory,
}

if __name__ == "__main__":
    figure, peer = sys.argv[1:3]
    print(FIGURES[figure](peer), flush=True)
    # Workers hold this output, too: whoever reads it to its end must not wait for them.
    os.killpg(0, signal.SIGKILL)
