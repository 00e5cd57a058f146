"""The program's end of the conversation that `driver/client.py` describes, for peers with clients in Python."""

import json
import sys
import threading
import time
import traceback

CALLERS = 64
BULK = 1_000
BODY = "x" * 189
# What every job carries: 200 bytes.
PAYLOAD = json.dumps({"body": BODY}, separators=(",", ":")).encode()
# The last of a wait is spent awake: a sleeping thread comes late.
AWAKE_NS = 120_000


class Notes:
    """What was handed in, and what has started."""

    def __init__(self):
        self.accepted = []
        self.started = []

    def dump(self, file):
        """Writes it down, and forgets it."""
        with open(file, "w", encoding="ascii") as out:
            out.writelines(f"+ {job} {due}\n" for job, due in self.accepted)
            out.writelines(f"- {job} {at}\n" for job, at in self.started)
        self.accepted.clear()
        self.started.clear()


def timed(work):
    """When something began and ended."""
    began = time.monotonic_ns()
    work()
    return {"began": began, "ended": time.monotonic_ns()}


def at_their_times(jobs, every_ns):
    """The moments at which jobs are due, each yielded when it has come."""
    first = time.monotonic_ns() + every_ns
    for number in range(jobs):
        due = first + number * every_ns
        wait = due - time.monotonic_ns() - AWAKE_NS
        if wait > 0:
            time.sleep(wait / 1e9)
        while time.monotonic_ns() < due:
            pass
        yield due


def in_threads(work, callers=CALLERS):
    """The same work in as many threads; a failure of one is a failure of all."""
    failures = []

    def guarded():
        try:
            work()
        except Exception as error:  # pylint: disable=broad-except
            failures.append(error)

    threads = [threading.Thread(target=guarded) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def serve(commands, out=sys.stdout):
    """Says that it is ready, then does what it is told until its input ends."""
    print("{}", file=out, flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer = commands[order.pop("do")](**order) or {}
        except Exception as error:  # pylint: disable=broad-except
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=out, flush=True)
