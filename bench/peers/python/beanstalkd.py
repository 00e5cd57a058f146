"""beanstalkd, spoken with over bare sockets: `beanstalkd.py client|worker PORT`.

64 callers share one connection, as the tasks of a service do: each puts its next job when its last has been answered.
"""

import selectors
import socket
import sys
import threading
import time

from protocol import BULK, CALLERS, PAYLOAD, Notes, at_their_times, serve, timed

PORT = int(sys.argv[2])
# Seconds that a job may run: far more than any does.
TTR = 120
PUT = b"put 1024 0 %d %d\r\n%s\r\n" % (TTR, len(PAYLOAD), PAYLOAD)
CONNECTIONS = 4
# Reserves on their way over one connection at most.
WINDOW = 64


def connect():
    """A connection of its own."""
    link = socket.create_connection(("127.0.0.1", PORT))
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return link


class Producer:
    """Hands jobs in."""

    def __init__(self):
        self.notes = Notes()
        self.link = connect()

    def use(self, queue):
        """Jobs go to this tube from now on."""
        self.link.sendall(b"use %s\r\n" % queue.encode())
        answer = self.link.recv(1024)
        if not answer.startswith(b"USING"):
            raise RuntimeError(f"beanstalkd answered {answer!r} to use")

    def put(self, jobs, window):
        """Puts so many jobs with at most so many unanswered."""
        ids, sent, rest = [], 0, b""
        while len(ids) < jobs:
            more = min(jobs - sent, window - (sent - len(ids)))
            if more:
                self.link.sendall(PUT * more)
                sent += more
            rest = self.take(rest, ids)
        return ids

    def take(self, rest, ids):
        """Takes the answers that have come; what is left of the last is for the next time."""
        *lines, rest = (rest + self.link.recv(1 << 18)).split(b"\r\n")
        for line in lines:
            word, _, job = line.partition(b" ")
            if word != b"INSERTED":
                raise RuntimeError(f"beanstalkd answered {line!r} to put")
            ids.append(int(job))
        return rest

    def enqueue(self, way, jobs, queue):
        """Hands jobs in; in bulks, the next begins when all of the last have been answered."""
        self.use(queue)
        ids = []

        def work():
            if way == "bulk":
                for _ in range(jobs // BULK):
                    ids.extend(self.put(BULK, BULK))
            else:
                ids.extend(self.put(jobs, CALLERS if way == "callers" else 1))

        moments = timed(work)
        self.notes.accepted += [(job, 0) for job in ids]
        return moments

    def pace(self, jobs, every_ns, queue):
        """Puts each job at its time; another thread takes the answers."""
        self.use(queue)
        ids, dues = [], []

        def answers():
            rest = b""
            while len(ids) < jobs:
                rest = self.take(rest, ids)

        reader = threading.Thread(target=answers)
        reader.start()

        def work():
            for due in at_their_times(jobs, every_ns):
                self.link.sendall(PUT)
                dues.append(due)
            reader.join()

        moments = timed(work)
        self.notes.accepted += zip(ids, dues)
        return moments


class Lane:
    """One connection of a worker: reserves in batches while there is plenty, one blocking reserve while there is not.

    A blocking reserve holds up what comes after it on its connection, so only a lone one blocks.
    """

    def __init__(self, queue, notes):
        self.link = connect()
        self.notes = notes
        self.rest = b""
        self.window = 1
        self.done = []
        self.got = []
        self.awaited = 0
        self.link.sendall(b"watch %s\r\nignore default\r\n" % queue.encode())
        while self.rest.count(b"\r\n") < 2:
            self.rest += self.link.recv(1024)
        self.rest = b""
        self.ask()

    def ask(self):
        """Deletes what has run, and reserves more, in one write."""
        self.window = 1 if len(self.got) < self.window else min(4 * self.window, WINDOW)
        deletes = b"".join(b"delete %d\r\n" % job for job in self.got)
        reserves = b"reserve\r\n" if self.window == 1 else b"reserve-with-timeout 0\r\n" * self.window
        self.awaited = len(self.got) + self.window
        self.got = []
        self.link.sendall(deletes + reserves)

    def hear(self):
        """Takes what has come, runs the handler, and asks again when all answers are there."""
        data = self.rest + self.link.recv(1 << 18)
        at = 0
        while self.awaited:
            end = data.find(b"\r\n", at)
            if end < 0:
                break
            line = data[at:end]
            if line.startswith(b"RESERVED"):
                _, job, size = line.split()
                after = end + 2 + int(size) + 2
                if len(data) < after:
                    break
                self.run(int(job))
                at = after
            elif line in (b"DELETED", b"TIMED_OUT"):
                at = end + 2
            else:
                raise RuntimeError(f"beanstalkd answered {line!r} to a worker")
            self.awaited -= 1
        self.rest = data[at:]
        if not self.awaited:
            self.ask()

    def run(self, job):
        """The handler: it does nothing but note that it started."""
        self.notes.started.append((job, time.monotonic_ns()))
        self.got.append(job)


class Worker:
    """Runs jobs, over some connections in one thread."""

    def __init__(self):
        self.notes = Notes()
        self.thread = None
        self.is_over = False

    def work(self, queue):
        """Begins."""
        self.is_over = False
        self.thread = threading.Thread(target=self.loop, args=([Lane(queue, self.notes) for _ in range(CONNECTIONS)],))
        self.thread.start()

    def loop(self, lanes):
        """Hears the lanes until it is over."""
        ready = selectors.DefaultSelector()
        for lane in lanes:
            ready.register(lane.link, selectors.EVENT_READ, lane)
        while not self.is_over:
            for key, _ in ready.select(0.05):
                key.data.hear()
        for lane in lanes:
            lane.link.close()
        ready.close()

    def rest(self):
        """Ends the loop. All that ran has been deleted: a lane says so before it waits."""
        self.is_over = True
        self.thread.join()

    def count(self):
        """How many handlers have started."""
        return {"started": len(self.notes.started)}


def main():
    """Serves as the one or the other."""
    if sys.argv[1] == "client":
        producer = Producer()
        serve({"enqueue": producer.enqueue, "pace": producer.pace, "dump": producer.notes.dump})
    else:
        worker = Worker()
        serve({"work": worker.work, "rest": worker.rest, "count": worker.count, "dump": worker.notes.dump})


main()
