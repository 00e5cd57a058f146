"""The workloads, and what becomes of their runs."""

import time
from collections import Counter
from statistics import median

from .client import wait_for_starts

ENQUEUES = [
    ("one", "enqueue, one awaited caller"),
    ("callers", "enqueue, 64 callers"),
    ("bulk", "enqueue, bulk of 1,000"),
]
DRAIN = "drain of a filled queue"
LIFE = "whole life, enqueue and run together"
LATENCY = "dispatch latency"
# The order of the tables.
WORKLOADS = [*(name for _, name in ENQUEUES), LIFE, DRAIN, f"{LATENCY}, p50", f"{LATENCY}, p99"]

# A run that takes no longer is repeated five times, a longer one three times.
SHORT_S = 3.0
# A run that takes longer has fewer jobs the next time.
LONG_S = 6.0
PATIENCE_S = 30
LATENCY_S = 2.0
# Whoever ends a run so late behind its pace has not kept up with it.
KEPT_UP_NS = 50_000_000


class Session:
    """A peer that has been started."""

    def __init__(self, peer, processes, folder):
        self.peer = peer
        self.processes = processes
        self.folder = folder
        self.client, self.workers = peer.start(processes, folder)
        self.queues = 0
        # Of the jobs that a run is to have: less where the machine or its disk is slower than the one they were meant for.
        self.scale = 1.0

    def handed_in(self, workload):
        """By which way, and how many: whole bulks, and as many for each caller."""
        way = workload
        if workload == "life":
            way = "bulk" if self.peer.jobs["bulk"] else "callers"
        step = {"one": 50, "callers": 64, "bulk": 1_000}[way]
        return way, max(int(self.peer.jobs[workload] * self.scale) // step, 1) * step

    def queue(self, kind):
        """A name that no run had before."""
        self.queues += 1
        return f"{kind}-{self.queues}"

    def cpu_s(self):
        """Of server, client and workers together."""
        return self.processes.cpu_s()

    def work(self, queue, workers):
        """Workers begin."""
        for worker in workers:
            worker.ask("work", queue=queue)

    def collect(self, workers):
        """Ends a run: what was accepted (id to due time) and what started (ids and moments)."""
        for worker in workers:
            worker.ask("rest")
        accepted, started = {}, []
        for number, program in enumerate({id(one): one for one in [self.client, *workers]}.values()):
            file = f"{self.folder}/dump-{number}"
            program.ask("dump", file=file)
            with open(file, encoding="ascii") as lines:
                for line in lines:
                    sign, job, moment = line.split()
                    if sign == "+":
                        accepted[job] = int(moment)
                    else:
                        started.append((job, int(moment)))
        return accepted, started


def inexact(jobs, accepted, started):
    """Why delivery was not exact: each job's id has to have been accepted once and seen once by a handler."""
    times = Counter(job for job, _ in started)
    missing = sum(job not in times for job in accepted)
    again = sum(count > 1 for count in times.values())
    strangers = sum(job not in accepted for job in times)
    if len(accepted) != jobs or missing or again or strangers:
        return (f"of {jobs} jobs {len(accepted)} ids were accepted, {missing} never started, {again} more than once, "
                f"{strangers} that nobody handed in")
    return None


def per_100k(cpu_s, jobs):
    """CPU seconds for 100,000 jobs."""
    return cpu_s * 100_000 / jobs


def enqueue(session, workload):
    """Hands in while nobody works, then drains, which is a workload of its own and the check of both."""
    (way, jobs), queue = session.handed_in(workload), session.queue(workload)
    before = session.cpu_s()
    moments = session.client.ask("enqueue", PATIENCE_S, way=way, jobs=jobs, queue=queue)
    filled = session.cpu_s()
    session.work(queue, session.workers)
    wait_for_starts(session.workers, jobs, PATIENCE_S)
    drained = session.cpu_s()
    accepted, started = session.collect(session.workers)
    void = inexact(jobs, accepted, started)
    # From the first start to the last: what a worker needs to wake up is not counted against its peer.
    starts = sorted(at for _, at in started)
    span = (starts[-1] - starts[0]) / 1e9 if len(starts) > 1 else float("nan")
    rate = jobs * 1e9 / (moments["ended"] - moments["began"])
    return (
        {"value": rate, "cpu": per_100k(filled - before, jobs), "void": void},
        {"value": (jobs - 1) / span, "cpu": per_100k(drained - filled, jobs), "void": void},
    )


def life(session):
    """Hands in while workers run, up to the start of the last handler."""
    (way, jobs), queue = session.handed_in("life"), session.queue("life")
    session.work(queue, session.workers)
    before = session.cpu_s()
    moments = session.client.ask("enqueue", PATIENCE_S, way=way, jobs=jobs, queue=queue)
    wait_for_starts(session.workers, jobs, PATIENCE_S)
    cpu = per_100k(session.cpu_s() - before, jobs)
    accepted, started = session.collect(session.workers)
    void = inexact(jobs, accepted, started)
    last = max((at for _, at in started), default=0)
    return {"value": jobs * 1e9 / max(last - moments["began"], 1), "cpu": cpu, "void": void}


def latency(session, pace):
    """Hands in each job at its time whatever becomes of those before; from that time to the start of its handler."""
    workers = session.workers[:session.peer.latency_workers]
    jobs, queue = int(pace * LATENCY_S), session.queue("pace")
    session.work(queue, workers)
    # Whatever begins with a worker is over.
    time.sleep(0.3)
    before = session.cpu_s()
    session.client.ask("pace", PATIENCE_S, jobs=jobs, every_ns=1_000_000_000 // pace, queue=queue)
    wait_for_starts(workers, jobs, PATIENCE_S)
    cpu = per_100k(session.cpu_s() - before, jobs)
    accepted, started = session.collect(workers)
    void = inexact(jobs, accepted, started)
    # By the time when they were due.
    late = [at - due for due, at in sorted((accepted.get(job, at), at) for job, at in started)]
    kept_up = not void and median(late[-max(jobs // 10, 1):]) < KEPT_UP_NS
    late.sort()

    def share(part):
        return late[max(-(-len(late) * part // 100), 1) - 1] / 1e3 if late else float("nan")
    return kept_up, [{"value": share(part), "cpu": cpu, "void": void} for part in (50, 99)]


def repeat(session, run):
    """Runs often enough for a median; a void run ends it."""
    results, runs = [], 5
    while len(results) < runs:
        began = time.monotonic()
        results.append(run())
        took = time.monotonic() - began
        if len(results) == 1 and took > SHORT_S:
            runs = 3
        if took > LONG_S:
            session.scale *= LONG_S / took
        last = results[-1] if isinstance(results[-1], (tuple, list)) else [results[-1]]
        if any(part["void"] for part in last):
            break
    return results


def figure(session, workload, unit, runs, note=None):
    """The median of some runs, and their range."""
    values = [run["value"] for run in runs]
    void = next((run["void"] for run in runs if run["void"]), None)
    peer = session.peer
    return {
        "peer": peer.name, "durability": peer.durability, "like": peer.like, "workload": workload, "unit": unit,
        "median": median(values), "min": min(values), "max": max(values), "runs": len(runs),
        "cpu_s_per_100k": median(run["cpu"] for run in runs), "exact": void is None, "void": void, "note": note,
    }


def latencies(session):
    """Latency at the first pace that the peer keeps up with."""
    peer = session.peer
    for pace in peer.paces:
        kept_up, first = latency(session, pace)
        if kept_up or pace == peer.paces[-1]:
            break
    runs = [first]
    if kept_up:
        runs += [latency(session, pace)[1] for _ in range(4)]
    note = f"at {pace:,} jobs/s" + ("" if kept_up else ", which it does not keep up with")
    return [figure(session, f"{LATENCY}, p{part}", "µs", [run[place] for run in runs], note)
            for place, part in enumerate((50, 99))]


def measure(session):
    """All figures of a peer, each as soon as it is there."""
    peer = session.peer
    drained = "bulk" if peer.jobs["bulk"] else "callers"
    for way, name in ENQUEUES:
        if not peer.jobs[way]:
            continue
        runs = repeat(session, lambda way=way: enqueue(session, way))
        yield figure(session, name, "jobs/s", [run[0] for run in runs])
        if way == drained:
            yield figure(session, DRAIN, "jobs/s", [run[1] for run in runs])
    yield figure(session, LIFE, "jobs/s", repeat(session, lambda: life(session)))
    yield from latencies(session)
