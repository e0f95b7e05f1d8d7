"""One kill -9 among 200 tasks of 20 ms in 4 workers: Brigade beside the pools of Python. `make peers` runs it.

    peers.py SUPERVISOR [REPEATS]   the table, on stdout, as it goes into docs/PEERS.md
    peers.py --one PEER             one run of one pool: a line of JSON

The peers take turns, so that whatever else the machine does befalls all of them. A pool is timed from its first
task to its last answer, with its workers already there; Brigade from the start of its command to its end.
"""

import json
import multiprocessing
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from importlib import metadata

TASKS, TASK_S, WORKERS = 200, 0.020, 4
IDEAL_S = TASKS * TASK_S / WORKERS
KILL_AFTER_S = 0.4
PATIENCE_S = 15.0
PEERS = ["mp.Pool", "ProcessPoolExecutor", "loky", "pebble"]


def task(number):
    time.sleep(TASK_S)
    return number


def strike():
    """Kills a worker, in the middle of the run."""
    time.sleep(KILL_AFTER_S)
    os.kill(min(child.pid for child in multiprocessing.active_children()), signal.SIGKILL)


def answers_of(futures):
    """What came back, and the first complaint."""
    total, complaint = 0, ""
    for future in futures:
        try:
            total += future.result()
        except Exception as error:  # whatever a pool says when it has lost a worker
            complaint = complaint or type(error).__name__
    return total, complaint


def with_futures(submit):
    answers_of([submit(number) for number in range(WORKERS)])
    return lambda: answers_of([submit(number) for number in range(TASKS)])


def work_of(peer):
    """Makes the pool, lets it start its workers, and returns what runs the tasks."""
    if peer == "mp.Pool":
        pool = multiprocessing.Pool(WORKERS)
        pool.map(task, range(WORKERS), chunksize=1)
        return lambda: (sum(pool.imap_unordered(task, range(TASKS), chunksize=1)), "")
    if peer == "ProcessPoolExecutor":
        from concurrent.futures import ProcessPoolExecutor

        executor = ProcessPoolExecutor(WORKERS)
        return with_futures(lambda number: executor.submit(task, number))
    if peer == "loky":
        from loky import get_reusable_executor

        executor = get_reusable_executor(max_workers=WORKERS)
        return with_futures(lambda number: executor.submit(task, number))
    from pebble import ProcessPool

    pool = ProcessPool(max_workers=WORKERS)
    return with_futures(lambda number: pool.schedule(task, args=[number]))


def one(peer):
    work = work_of(peer)
    threading.Thread(target=strike, daemon=True).start()
    began = time.monotonic()
    total, complaint = work()
    seconds = time.monotonic() - began
    print(json.dumps({"exact": total == sum(range(TASKS)), "seconds": seconds, "said": complaint}), flush=True)
    # What it does at exit may wait for ever for the dead.
    os._exit(0)


def try_pool(peer):
    """One run in a session of its own, so that all of it can be ended. To a file, for its orphans would keep a pipe open."""
    command = [sys.executable, os.path.abspath(__file__), "--one", peer]
    with tempfile.TemporaryFile("w+") as answer:
        child = subprocess.Popen(command, stdout=answer, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            child.wait(timeout=PATIENCE_S)
            answer.seek(0)
            return json.loads(answer.read())
        except subprocess.TimeoutExpired:
            return {"exact": False, "seconds": None, "said": "hangs"}
        finally:
            try:
                os.killpg(child.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            child.wait()


def try_brigade(supervisor):
    numbers = TASKS * 100
    with tempfile.TemporaryDirectory() as state:
        command = [supervisor, "--procs", str(WORKERS), "--range", f"0..{numbers}", "--tasks", str(TASKS)]
        command += ["-q", "--pace", f"{TASK_S * 1e3:.0f}ms", "--format", "json", "--state-dir", state]
        began = time.monotonic()
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        pids = []
        blow = threading.Timer(KILL_AFTER_S, lambda: os.kill(pids[0], signal.SIGKILL))
        blow.start()
        done, deaths = {}, 0
        for line in map(json.loads, child.stdout):
            if line["ev"] == "worker_ready":
                pids.append(line["pid"])
            deaths += line["ev"] == "worker_exit" and not line["planned"]
            done = line if line["ev"] == "done" else done
        child.wait()
        seconds = time.monotonic() - began
        blow.join()
    exact = done.get("total") == str(numbers * (numbers - 1) // 2) and deaths == 1
    return {"exact": exact, "seconds": seconds, "said": ""}


def version(peer):
    if peer in ("mp.Pool", "ProcessPoolExecutor"):
        return f"Python {platform.python_version()}"
    try:
        return metadata.version(peer)
    except metadata.PackageNotFoundError:
        return None


def row(name, release, runs):
    times = [run["seconds"] for run in runs if run["seconds"] is not None]
    exact = sum(run["exact"] for run in runs)
    said = ", ".join(sorted({run["said"] for run in runs if run["said"]})) or "-"
    if times:
        middle = statistics.median(times)
        took = f"{middle:.3f} s ({min(times):.3f} to {max(times):.3f})"
        ratio = f"{middle / IDEAL_S:.2f}" if exact else "no answer"
    else:
        took, ratio = f"none within {PATIENCE_S:.0f} s", "no answer"
    return f"| {name} | {release} | {exact} of {len(runs)} | {took} | {ratio} | {said} |"


def main(supervisor, repeats):
    present = [peer for peer in PEERS if version(peer)]
    for peer in sorted(set(PEERS) - set(present)):
        print(f"{peer} is not installed: left out", file=sys.stderr)
    own = subprocess.run([supervisor, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    runs = {peer: [] for peer in ["Brigade", *present]}
    for _ in range(repeats):
        runs["Brigade"].append(try_brigade(supervisor))
        for peer in present:
            runs[peer].append(try_pool(peer))
    cores, kernel = len(os.sched_getaffinity(0)), platform.release().split("-")[0]
    print(f"One `kill -9` after {KILL_AFTER_S} s among {TASKS} tasks of {TASK_S * 1e3:.0f} ms, {WORKERS} workers, ideal", end=" ")
    print(f"{IDEAL_S:.1f} s; {repeats} runs each, taking turns. {cores} cores, Linux {kernel}.\n")
    print("| pool | version | exact answer | time, median (least to most) | of the ideal | it says |")
    print("| --- | --- | --- | --- | --- | --- |")
    print(row("Brigade", own, runs["Brigade"]))
    for peer in present:
        print(row(peer, version(peer), runs[peer]))
    seconds = statistics.median(run["seconds"] for run in runs["Brigade"])
    is_held = all(run["exact"] for run in runs["Brigade"]) and seconds <= 1.1 * IDEAL_S
    print(f"\nBar: exact each time, and at most 1.1 of the ideal: {'held' if is_held else 'MISSED'}.")
    return 0 if is_held else 1


if __name__ == "__main__":
    if sys.argv[1] == "--one":
        one(sys.argv[2])
    else:
        sys.exit(main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 7))
