"""Worker processes that end with their parent, and of which one can be killed without the others.

Workers are spawned, deliberately:

- A forked worker copies locks that another thread of the parent holds (numpy, edt and torch have threads) and may hang,
  and it inherits the parent's ends of the other workers' pipes, so that a dead parent goes unnoticed.
- A fork server would start workers faster, but keeps the environment and folder of its own start, does not exist on
  Windows, and stands between parent and worker, so that again nobody notices a death.
- A spawned worker imports anew what its work needs, a second or two, at the same time as the others. So few are
  started: never more than jobs are left, none for a single job or a single worker, and each does many jobs.

Each has a pipe of its own. A pool with shared queues, as in `concurrent.futures`, is broken as a whole when one of its
processes is killed, perhaps while it holds the lock of a queue.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TypeVar

from nnunet_spine.errors import InputError
from nnunet_spine.jobs.executors import HERE, Executor, Lost
from nnunet_spine.jobs.memory import PROCESS_BYTES, choose_workers, memory_bytes

J = TypeVar("J")
R = TypeVar("R")

_KILLED_AT_START = 3
"""Workers that may be killed while they start before the run gives up."""
_PATIENCE_S = 5.0
"""For a worker to end by itself."""


def processes(wanted: int | None, most: int = 8) -> Executor:
    """As many worker processes as wanted; unless a number is given, as cores and memory allow, at most `most`.

    One process is this one.
    """
    workers = choose_workers(wanted, most)
    return HERE if workers == 1 else Processes(workers, None if wanted is not None else memory_bytes() / 2)


@dataclass(frozen=True)
class Processes:
    """Several worker processes on this machine.

    Attributes:
        workers: the most that run at once.
        memory_bytes: what all running jobs may need together; a job that needs more than this runs alone. None: no
            limit.
    """

    workers: int
    memory_bytes: float | None = None

    def run(
        self, work: Callable[[J], R], jobs: Sequence[J], peak_bytes: Callable[[J], float] | None = None
    ) -> Iterator[tuple[int, R | Lost]]:
        """See `Executor`.

        Raises:
            InputError: workers cannot start.
        """
        if self.workers <= 1 or len(jobs) <= 1:
            yield from HERE.run(work, jobs)
            return
        needs = [PROCESS_BYTES + (peak_bytes(job) if peak_bytes else 0) for job in jobs] if self.memory_bytes else []
        waiting = list(range(len(jobs)))
        team: dict[Connection, _Worker] = {}
        killed_at_start = 0
        try:
            while waiting or any(worker.index is not None for worker in team.values()):
                while len(team) < min(self.workers, len(waiting) + _busy(team)):
                    worker = _Worker.start(work)
                    team[worker.connection] = worker
                self._deal(team, waiting, jobs, needs)
                for connection in wait(list(team)):
                    worker = team[connection]
                    try:
                        message = connection.recv()
                    except (EOFError, OSError):  # killed, perhaps in the middle of a message
                        del team[connection]
                        code = worker.end()
                        if worker.index is not None:
                            yield worker.index, _lost(code)
                        elif not worker.ready:
                            killed_at_start += 1
                            if code >= 0 or killed_at_start == _KILLED_AT_START:
                                raise _cannot_start(code) from None
                        continue
                    if not worker.ready:
                        worker.ready = True
                    else:
                        index, worker.index = worker.index, None
                        yield index, message
            for worker in team.values():
                worker.connection.close()  # it ends by itself
            for worker in team.values():
                worker.process.join(_PATIENCE_S)
        finally:
            for worker in team.values():
                worker.process.terminate()
            for worker in team.values():
                worker.end()

    def _deal(
        self, team: dict[Connection, "_Worker"], waiting: list[int], jobs: Sequence[object], needs: list[float]
    ) -> None:
        """Give each idle worker the first waiting job that fits into memory beside the running ones."""
        for worker in team.values():
            if not worker.ready or worker.index is not None:
                continue
            running = [w.index for w in team.values() if w.index is not None]
            index = next_fitting(waiting, running, needs, self.memory_bytes)
            if index is None:
                return
            try:
                worker.connection.send(jobs[index])
            except OSError:  # killed while idle: noticed when it is waited for
                continue
            worker.index = index
            waiting.remove(index)


def next_fitting(
    waiting: Sequence[int], running: Sequence[int], needs: Sequence[float], limit: float | None
) -> int | None:
    """The first waiting job that fits into what the running ones leave of the limit; any fits where nothing runs."""
    if limit is None or not running:
        return next(iter(waiting), None)
    free = limit - sum(needs[index] for index in running)
    return next((index for index in waiting if needs[index] <= free), None)


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection = field(repr=False)
    ready: bool = False
    index: int | None = None  # of the job it works on

    @classmethod
    def start(cls, work: Callable) -> "_Worker":
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, work), daemon=True)
        with theirs, _interrupts_held_back():
            process.start()
        return cls(process, ours)

    def end(self) -> int:
        """Exit code; the process is gone afterwards."""
        self.connection.close()
        self.process.join(_PATIENCE_S)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
        return self.process.exitcode


def _busy(team: dict[Connection, _Worker]) -> int:
    return sum(worker.index is not None for worker in team.values())


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Ctrl-C reaches the parent at the end of this block, and never the process that is started in it.

    A terminal sends it to both, and a worker that is still importing would print where it was.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # by itself: it lets signals through when it has started
    caught = []
    # Another thread of the parent may be interrupted in place of this one, so the mask alone would not do.
    main = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, lambda *signal_and_frame: caught.append(signal_and_frame)) if main else None
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # inherited by the new process, which keeps it
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if handler is not None:
            signal.signal(signal.SIGINT, handler)
    if caught and callable(handler):
        handler(*caught[0])


def _serve(connection: Connection, work: Callable[[J], R]) -> None:
    """Life of a worker: jobs in, results out, until the parent closes the pipe or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        connection.send(None)  # ready: what is imported for the work is there
        while True:
            connection.send(work(connection.recv()))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _end_with_parent() -> None:
    """Also in the middle of a job: nobody waits for it any more."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _lost(code: int) -> Lost:
    if code >= 0:
        return Lost(f"ended without a result (exit code {code})", "try -np 1 to see why")
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    if name == "SIGKILL":
        return Lost(f"was killed ({name}), probably for want of memory", "run again with fewer processes (-np 1)")
    return Lost(f"crashed ({name})", "try -np 1 to see whether it does so again")


def _cannot_start(code: int) -> InputError:
    return InputError(
        f"worker processes cannot start (exit code {code})",
        "see the lines above, or use one process (-np 1). A program of your own must call this below "
        "`if __name__ == '__main__':`",
    )
