"""Celery on Redis: `celery_peer.py client|worker PORT FOLDER`.

Its workers are processes that it forks itself: they note what they start in files, each line as long as every other.
"""

import os
import sys
import threading
import time
import uuid

from celery import Celery
from celery.signals import worker_ready

from protocol import CALLERS, Notes, at_their_times, in_threads, serve, timed

ROLE, PORT, FOLDER = sys.argv[1:4]
PROCESSES = 2
PREFETCH = 64
# An id, a space, a moment of 20 digits, a line feed.
LINE = 36 + 1 + 20 + 1
PAYLOAD = {"body": "x" * 189}

app = Celery("bench", broker=f"redis://127.0.0.1:{PORT}/0")
app.conf.update(
    # Documented advice for throughput: no result backend, no events, connections for all callers.
    task_ignore_result=True,
    worker_send_task_events=False,
    broker_pool_limit=CALLERS,
    worker_prefetch_multiplier=PREFETCH // PROCESSES,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    task_create_missing_queues=True,
)
LOGS = {}


@app.task(name="no-op", bind=True)
def no_op(self, body):  # pylint: disable=unused-argument
    """Does nothing but note that it started."""
    at = time.monotonic_ns()
    pid = os.getpid()
    if pid not in LOGS:
        LOGS[pid] = os.open(f"{FOLDER}/started-{pid}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(LOGS[pid], f"{self.request.id} {at:020}\n".encode())


def hand_in(queue):
    """Hands in one job, and answers its id once Redis has it."""
    return no_op.apply_async(kwargs=PAYLOAD, queue=queue, task_id=str(uuid.uuid4())).id


class Producer:
    """Hands jobs in."""

    def __init__(self):
        self.notes = Notes()

    def enqueue(self, way, jobs, queue):
        """Hands jobs in, by one caller or by 64 threads: there is no bulk."""
        if way == "bulk":
            raise RuntimeError("Celery has no bulk")
        callers = CALLERS if way == "callers" else 1

        def work():
            for _ in range(jobs // callers):
                self.notes.accepted.append((hand_in(queue), 0))

        return timed(lambda: in_threads(work, callers))

    def pace(self, jobs, every_ns, queue):
        """Each at its time. One caller: it takes less than the pause between two."""
        def work():
            for due in at_their_times(jobs, every_ns):
                self.notes.accepted.append((hand_in(queue), due))

        return timed(work)


class Worker:
    """Tells the worker of this process what to consume."""

    def __init__(self):
        self.queue = None

    def work(self, queue):
        """Begins to consume."""
        app.control.add_consumer(queue, reply=True, timeout=5, limit=1)
        self.queue = queue
        # Its poll of Redis is a second long, and the queue is in it from the next one on.
        time.sleep(1.1)

    def rest(self):
        """Consumes no more."""
        app.control.cancel_consumer(self.queue, reply=True, timeout=5, limit=1)

    def logs(self):
        """What the processes have noted."""
        return [f"{FOLDER}/{name}" for name in os.listdir(FOLDER) if name.startswith("started-")]

    def count(self):
        """How many handlers have started."""
        return {"started": sum(os.path.getsize(log) for log in self.logs()) // LINE}

    def dump(self, file):
        """Writes down what has started, and forgets it."""
        with open(file, "w", encoding="ascii") as out:
            for log in self.logs():
                with open(log, encoding="ascii") as lines:
                    out.writelines(f"- {line}" for line in lines)
                os.truncate(log, 0)


def main():
    """Serves as the one or the other."""
    if ROLE == "client":
        producer = Producer()
        serve({"enqueue": producer.enqueue, "pace": producer.pace, "dump": producer.notes.dump})
        return
    worker = Worker()
    commands = {"work": worker.work, "rest": worker.rest, "count": worker.count, "dump": worker.dump}
    # The conversation keeps the standard output, whatever Celery says there.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def talk():
        serve(commands, out)
        os.kill(os.getpid(), 15)

    worker_ready.connect(lambda **_: threading.Thread(target=talk, daemon=True).start(), weak=False)
    app.worker_main(["worker", "--pool=prefork", f"--concurrency={PROCESSES}", "--loglevel=ERROR", "--queues=none",
                     "--without-gossip", "--without-mingle", "--without-heartbeat", "--optimization=fair"])


main()
