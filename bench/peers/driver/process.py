"""Processes that the bench starts: their CPU time is read, and they end with the bench whatever happens."""

import ctypes
import os
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager

# What asks the whole run to stop.
STOPS = {signal.SIGINT, signal.SIGTERM}
TICKS = os.sysconf("SC_CLK_TCK")
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


class Failure(Exception):
    """Something that a person can do something about: what, where, and what to do."""


class Stopped(BaseException):
    """Ctrl-C, or SIGTERM: the run ends, and cleans up on its way out."""

    def __init__(self, number):
        super().__init__(number)
        self.number = number


def stop_on_signals():
    """From now on either signal raises `Stopped`, once: a second one would break off the clean-up."""
    def stop(number, _):
        for each in STOPS:
            signal.signal(each, signal.SIG_IGN)
        raise Stopped(number)

    for each in STOPS:
        # Whoever starts this in the background of a script has Ctrl-C ignored, and that stays so.
        if signal.getsignal(each) is not signal.SIG_IGN:
            signal.signal(each, stop)


@contextmanager
def undisturbed():
    """Both signals wait until it is over: so that nothing is started that nobody knows of, or half ended."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def stage(parent):
    """Processes, and a folder for them in `parent`: both are gone afterwards, whatever happens."""
    processes, folder = Processes(), None
    try:
        with undisturbed():
            folder = tempfile.TemporaryDirectory(prefix="windlass-peer-", dir=parent)
        yield processes, folder.name
    finally:
        with undisturbed():
            processes.end_all()
            if folder:
                folder.cleanup()


def _before_it_runs():
    # Even a driver that is killed with SIGKILL leaves no server behind.
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    # It was forked undisturbed, which it would stay. First the handlers go: they are the driver's.
    for each in STOPS:
        signal.signal(each, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)


class Processes:
    """All processes of one peer."""

    def __init__(self):
        self.roots = []

    def start(self, command, log, env=None, talks=False, user=None, cwd=None):
        """Starts a program whose words go to a file; `talks`: it is spoken with over its standard input and output."""
        pipe = subprocess.PIPE if talks else None
        with open(log, "ab") as out, undisturbed():
            try:
                child = subprocess.Popen(
                    command, stdin=pipe or subprocess.DEVNULL, stdout=pipe or out, stderr=out, cwd=cwd,
                    env={**os.environ, **(env or {})}, user=user, group=user, preexec_fn=_before_it_runs,
                    # Not in the driver's process group: Ctrl-C is the driver's to handle.
                    start_new_session=True,
                )
            except OSError as error:
                raise Failure(f"{command[0]} did not start: {error}") from error
            child.log = log
            self.roots.append(child)
        return child

    def run(self, command, log, **settings):
        """Starts a program, and waits until it has ended by itself. Answers its exit code."""
        child = self.start(command, log, **settings)
        code = child.wait()
        self.end(child)
        return code

    def end(self, child):
        """Ends one process, politely first; what it started itself goes with it."""
        with undisturbed():
            tree = _tree([child.pid])
            child.terminate()
            try:
                # Servers may have to write down a lot. Those that are spoken with have nothing to lose, and Celery now
                # and then waits half a minute for its forks.
                child.wait(3 if child.stdin else 10)
            except subprocess.TimeoutExpired:
                pass
            _signal([pid for pid in tree if _tree([pid])], signal.SIGKILL)
            child.wait()
            self.roots.remove(child)

    def end_all(self):
        """Ends all, the last started first."""
        for child in reversed(list(self.roots)):
            self.end(child)

    def cpu_s(self):
        """User and system seconds of all of them, so far, and of their children."""
        ticks = 0
        for fields in _tree([child.pid for child in self.roots]).values():
            # utime, stime, and those of children that have ended and been waited for.
            ticks += sum(int(field) for field in fields[11:15])
        return ticks / TICKS


def _signal(pids, number):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def _tree(roots):
    """These processes and all below them, each with the fields of its `stat` that come after the name."""
    stats = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as file:
                stats[int(name)] = file.read().rpartition(")")[2].split()
        except OSError:
            continue
    below = {}
    for pid, fields in stats.items():
        below.setdefault(int(fields[1]), []).append(pid)
    tree, open_ends = {}, [pid for pid in roots if pid in stats]
    while open_ends:
        pid = open_ends.pop()
        if stats[pid][0] != "Z":
            tree[pid] = stats[pid]
        open_ends += below.get(pid, [])
    return tree


def free_port():
    """A port of loopback that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port, child, patience_s=60):
    """Waits until a server listens."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise Failure(f"{child.args[0]} ended with {child.returncode} before it listened: {last_words(child.log)}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise Failure(f"{child.args[0]} did not listen on port {port} within {patience_s} s: {last_words(child.log)}")


def last_words(log):
    """The end of what a program wrote, in one line."""
    try:
        with open(log, encoding="utf-8", errors="replace") as file:
            return " / ".join(line.strip() for line in file.readlines()[-4:]) or "it said nothing"
    except OSError:
        return "it left no log"
