"""How the driver speaks with a peer's programs: a line of JSON to their standard input, one back from their output.

A program says `{}` once it is ready. Then it is told, by the key `do`:

    enqueue  {way, jobs, queue}       hand in jobs: `one` caller, 64 `callers`, or `bulk`; answers {began, ended}
    pace     {jobs, every_ns, queue}  hand in each job at its time, waiting for none; answers {began, ended}
    work     {queue}                  begin to run jobs
    count    {}                       answers {started}: handlers that have started
    rest     {}                       take no more jobs, and finish those in hand
    dump     {file}                   write what was handed in (`+ id due_ns`) and started (`- id start_ns`); forget it

Moments are nanoseconds of CLOCK_MONOTONIC, which all processes of a machine share.
"""

import json
import selectors
import time

from .process import Failure, last_words


class Client:
    """One program of a peer."""

    def __init__(self, processes, command, log, env=None):
        self.processes = processes
        self.child = processes.start(command, log, env=env, talks=True)
        self.ready = selectors.DefaultSelector()
        self.ready.register(self.child.stdout, selectors.EVENT_READ)
        self.answer("start", 60)

    def ask(self, what, patience_s=60, **arguments):
        """Asks, and waits for the answer."""
        self.tell(what, **arguments)
        return self.answer(what, patience_s)

    def tell(self, what, **arguments):
        """Asks; the answer is for later."""
        line = json.dumps({"do": what, **arguments}) + "\n"
        try:
            self.child.stdin.write(line.encode())
            self.child.stdin.flush()
        except OSError as error:
            raise Failure(f"{self.name()} is gone ({error}): {last_words(self.child.log)}") from error

    def answer(self, what, patience_s=60):
        """The next answer. (A program says one line at a time, so nothing waits in a buffer when this is called.)"""
        if not self.ready.select(patience_s):
            raise Failure(f"{self.name()} did not answer {what!r} within {patience_s} s: {last_words(self.child.log)}")
        line = self.child.stdout.readline()
        if not line:
            raise Failure(f"{self.name()} ended at {what!r}: {last_words(self.child.log)}")
        try:
            answer = json.loads(line)
        except ValueError as error:
            raise Failure(f"{self.name()} answered {line!r} to {what!r}") from error
        if "error" in answer:
            raise Failure(f"{self.name()} failed at {what!r}: {answer['error']}")
        return answer

    def end(self):
        """Ends the program."""
        self.processes.end(self.child)

    def name(self):
        """What it is called in messages."""
        return " ".join(str(word).rsplit("/", 1)[-1] for word in self.child.args[:3])


def wait_for_starts(workers, jobs, patience_s=30):
    """Waits until handlers have started so many times in all. Answers how many have."""
    deadline = time.monotonic() + patience_s
    while True:
        started = sum(worker.ask("count")["started"] for worker in workers)
        if started >= jobs or time.monotonic() > deadline:
            return started
        time.sleep(0.02)
