"""Many cases: failures, killed processes, kept work, shards."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from sessions import LINUX, none_left, session

from nnunet_spine import jobs
from nnunet_spine.errors import InputError, WriteError
from nnunet_spine.io.files import write_text
from nnunet_spine.jobs import Contents, Done, Failure, Processes, Shard, Store, run_jobs
from nnunet_spine.jobs.processes import next_fitting

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="signals")


@dataclass(frozen=True)
class Letters:
    """A case of one text file, whose result is the text in capitals."""

    case: str
    file: Path
    version: int = 1

    def inputs(self):
        return {"text": self.file}

    def parameters(self):
        return [self.version]


def capitals(job: Letters) -> str:
    text = job.file.read_text(encoding="utf-8")
    if text == "bad":
        raise InputError("a bad word", "choose another", job.file)
    if text == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if text == "exit":
        os._exit(3)
    if text == "bug":
        return {}["missing"]
    return text.upper()


def spied(log: Path, job: Letters) -> str:
    with log.open("a", encoding="utf-8") as file:
        file.write(job.case)
    return capitals(job)


def write_when_done(folder: Path, job: Letters) -> str:
    write_text(folder / f"{job.case}.txt", job.file.read_text(encoding="utf-8").upper())
    return job.case


@pytest.fixture
def words(tmp_path):
    """Makes cases a, b, ... of the given words."""

    def make(*texts, **options):
        out = []
        for case, text in zip("abcdefgh", texts, strict=False):
            file = tmp_path / "in" / f"{case}.txt"
            if not file.is_file() or file.read_text(encoding="utf-8") != text:
                write_text(file, text)
                os.utime(file, (1e9, 1e9))
            out.append(Letters(case, file, **options))
        return out

    return make


def results(outcomes):
    return {o.case: o.result for o in outcomes if isinstance(o, Done)}


def failures(outcomes):
    return {o.case: o for o in outcomes if isinstance(o, Failure)}


# --- outcomes


@pytest.mark.parametrize("executor", [jobs.HERE, Processes(2)])
def test_each_case_ends_in_a_result_or_a_failure(words, executor):
    outcomes = list(run_jobs(words("one", "bad", "bug", "two"), capitals, executor=executor))
    assert results(outcomes) == {"a": "ONE", "d": "TWO"}
    bad, bug = failures(outcomes)["b"], failures(outcomes)["c"]
    assert (bad.found, bad.cure, Path(bad.path).name, bad.transient) == ("a bad word", "choose another", "b.txt", False)
    assert str(bad) == f"b: {bad.path}: a bad word. Choose another"
    assert "KeyError: 'missing'" in bug.found
    assert "in capitals" in bug.trace


def test_files_and_memory_that_fail_are_failures_of_the_case(tmp_path):
    gone = jobs.failure_of("a", FileNotFoundError(2, "No such file or directory", "x.txt"))
    assert (gone.path, gone.transient) == ("x.txt", False)
    assert jobs.failure_of("a", MemoryError()).transient
    assert jobs.failure_of("a", OSError(28, "No space left on device")).transient


def test_a_full_disk_stops_the_run(words, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(WriteError):
        list(run_jobs(words("one"), capitals, store=Store(tmp_path / "file")))


@POSIX
def test_a_killed_worker_costs_its_own_case(words):
    outcomes = list(run_jobs(words("kill", "one", "two", "exit", "three", "four"), capitals, executor=Processes(2)))
    assert results(outcomes) == {"b": "ONE", "c": "TWO", "e": "THREE", "f": "FOUR"}
    killed, ended = failures(outcomes)["a"], failures(outcomes)["d"]
    assert str(killed) == (
        "a: its process was killed (SIGKILL), probably for want of memory. Run again with fewer processes (-np 1)"
    )
    assert "exit code 3" in ended.found
    assert killed.transient and ended.transient


def test_workers_that_cannot_start_are_one_error(tmp_path):
    """A program without `if __name__ == '__main__'`, which each worker runs again."""
    program = tmp_path / "program.py"
    program.write_text(
        "from nnunet_spine.jobs import Processes\n"
        "try:\n    list(Processes(2).run(abs, [1, -2]))\n"
        "except ValueError as error:\n    print(error)\n",
        encoding="utf-8",
    )
    result = subprocess.run([sys.executable, program], capture_output=True, encoding="utf-8", timeout=60)
    assert "worker processes cannot start" in result.stdout
    assert "__main__" in result.stdout


# --- memory


def test_jobs_run_together_as_far_as_memory_goes():
    needs = [5e9, 1e9, 2e9, 1e9]
    assert next_fitting([0, 1, 2, 3], [], needs, 3e9) == 0  # more than there is: alone
    assert next_fitting([1, 2, 3], [0], needs, 3e9) is None
    assert next_fitting([0, 2, 3], [1], needs, 3e9) == 2  # past the giant
    assert next_fitting([0, 3], [1, 2], needs, 3e9) is None
    assert next_fitting([0, 3], [1, 2], needs, None) == 0
    assert next_fitting([], [], needs, 3e9) is None


def test_a_limit_of_memory_keeps_no_job_from_running():
    assert dict(Processes(2, 1.0).run(abs, [0, -1, -2], lambda job: 1e9)) == {0: 0, 1: 1, 2: 2}


def test_number_of_workers():
    assert jobs.choose_workers(3) == 3
    assert jobs.choose_workers(0) == 1
    assert jobs.choose_workers(None, most=1) == 1
    assert jobs.processes(1) is jobs.HERE
    assert jobs.processes(3) == Processes(3)
    assert jobs.memory_bytes() > 1e8


# --- kept work


@pytest.fixture
def kept(tmp_path):
    """Runs cases with a store and returns what was worked on, and the outcomes."""
    log = tmp_path / "log"

    def run(cases, **options):
        log.write_text("", encoding="utf-8")
        outcomes = list(run_jobs(cases, partial(spied, log), store=Store(tmp_path / "kept"), **options))
        return log.read_text(encoding="utf-8"), outcomes

    return run


def test_finished_work_is_kept_and_so_are_explained_failures(words, kept):
    assert kept(words("one", "bad"))[0] == "ab"
    worked, outcomes = kept(words("one", "bad"))
    assert worked == ""
    assert results(outcomes) == {"a": "ONE"}
    assert failures(outcomes)["b"].cure == "choose another"
    assert outcomes[0].inputs["text"].size == 3


def test_unexplained_failures_are_tried_again(words, kept):
    assert kept(words("bug"))[0] == "a"
    assert kept(words("bug"))[0] == "a"


def test_other_parameters_need_new_work(words, kept):
    kept(words("one"))
    assert kept(words("one", version=2))[0] == "a"


@pytest.mark.parametrize("times", ["new", "old", "set back"])
def test_other_contents_need_new_work_whatever_size_and_times_say(words, kept, times):
    case = words("one")
    kept(case)
    case[0].file.write_text("two", encoding="utf-8")  # of the same size
    if times != "new":
        os.utime(case[0].file, (1e9, 1e9) if times == "set back" else (5e8, 5e8))
    worked, outcomes = kept(case)
    assert worked == "a"
    assert results(outcomes) == {"a": "TWO"}


def test_same_contents_with_another_time_are_the_same(words, kept, tmp_path):
    case = words("one")
    kept(case)
    os.utime(case[0].file)
    assert kept(case)[0] == ""
    moved = case[0].file.rename(tmp_path / "elsewhere.txt")
    assert kept([Letters("a", moved)])[0] == ""


def test_a_missing_input_is_noticed_when_it_comes_back(words, kept, tmp_path):
    case = [Letters("a", tmp_path / "later.txt")]
    assert "not readable" in failures(kept(case)[1])["a"].found
    case[0].file.write_text("here", encoding="utf-8")
    assert results(kept(case)[1]) == {"a": "HERE"}


def test_times_alone_decide_where_they_can(words, monkeypatch):
    (case,) = words("one")
    then = jobs.contents_of(case.file)
    now = time.time_ns()
    monkeypatch.setattr("nnunet_spine.jobs.contents.contents_of", lambda path: pytest.fail("read"))
    assert jobs.unchanged(case.file, then, now + 10**10)
    assert not jobs.unchanged(case.file, Contents(4, then.mtime_ns, then.sha256), now + 10**10)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"parameters": 1}'])
def test_damaged_records_are_work_to_do(words, kept, tmp_path, text):
    kept(words("one"))
    (tmp_path / "kept" / "a.json").write_text(text, encoding="utf-8")
    assert kept(words("one"))[0] == "a"


def test_results_of_which_a_part_is_gone_are_work_to_do(words, tmp_path):
    store = Store(tmp_path / "kept", complete=lambda result: False)
    list(run_jobs(words("one"), capitals, store=store))
    assert store.find(words("one")[0]) is None


def test_two_cases_of_one_name_are_refused(words, kept):
    with pytest.raises(InputError, match="two cases called a"):
        kept(words("one") * 2)


# --- shards


def test_parts_are_chosen_as_by_nnunet():
    assert [Shard(k, 3).of("abcdefg") for k in range(3)] == ["adg", "be", "cf"]
    assert [Shard(k, 3).of("a") for k in range(3)] == ["a", "", ""]
    assert jobs.WHOLE.of("abc") == "abc"
    for part, parts in ((3, 3), (-1, 2), (0, 0)):
        with pytest.raises(InputError, match=r"-part_id|-num_parts"):
            Shard(part, parts)


def test_parts_join_to_what_one_run_gives(words, kept, tmp_path):
    cases, store = words("one", "bad", "two"), Store(tmp_path / "kept")
    kept(Shard(0, 2).of(cases))
    found, missing = jobs.joined(cases, store)
    assert ([o.case for o in found], [job.case for job in missing]) == (["a", "c"], ["b"])
    kept(Shard(1, 2).of(cases))
    assert jobs.joined(cases, store) == (kept(cases)[1], [])


def test_the_last_of_several_runs_knows_that_it_is(tmp_path):
    pytest.importorskip("fcntl")
    one, two, other = (jobs.Workplace(tmp_path / ".partial-x", identity) for identity in ((1,), (1,), (2,)))
    with one.entered():
        with two.entered():
            with pytest.raises(InputError, match="another run with other options"), other.entered():
                pass
            assert not two.is_last()
        assert one.is_last()
        one.clear()
    with other.entered():
        assert other.is_last()


RUNS = """
import os, signal, sys, time
sys.path.insert(0, {tests!r})
from functools import partial
from pathlib import Path
from test_jobs import Letters, slowly
from nnunet_spine.jobs import Processes, Store, run_jobs
root = Path({root!r})
if __name__ == "__main__":
    cases = [Letters(c, root / "in" / f"{{c}}.txt") for c in "abcdefgh"]
    print("started", flush=True)
    try:
        for _ in run_jobs(cases, partial(slowly, root / "out", {seconds}), executor=Processes(2),
                          store=Store(root / "kept")):
            print("finished one", flush=True)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
"""


def slowly(folder: Path, seconds: float, job: Letters) -> str:
    (folder / f"worker-{os.getpid()}").touch()
    time.sleep(seconds)
    return write_when_done(folder, job)


@pytest.fixture
def program(words, tmp_path, interruptible):
    """Starts a program with two workers in a session of its own."""
    words(*"stuvwxyz")
    (tmp_path / "out").mkdir()

    def start(seconds):
        text = RUNS.format(tests=str(Path(__file__).parent), root=str(tmp_path), seconds=seconds)
        (tmp_path / "program.py").write_text(text, encoding="utf-8")
        return subprocess.Popen(
            [sys.executable, tmp_path / "program.py"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            start_new_session=True,
        )

    return start


@LINUX
@pytest.mark.parametrize("moment", ["starting", "working"])
def test_no_worker_outlives_a_killed_parent(program, tmp_path, moment):
    run = program(60)
    assert run.stdout.readline() == "started\n"
    while len(session(run.pid)) < 3 or (moment == "working" and not list((tmp_path / "out").iterdir())):
        time.sleep(0.02)
    run.kill()
    assert none_left(run.pid)
    run.communicate()


@LINUX
@pytest.mark.parametrize("moment", ["starting", "working"])
def test_an_interrupt_is_one_line(program, tmp_path, moment):
    run = program(60)
    assert run.stdout.readline() == "started\n"
    while len(session(run.pid)) < 3 or (moment == "working" and not list((tmp_path / "out").iterdir())):
        time.sleep(0.02)
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does: to all of them
    _, error = run.communicate(timeout=20)
    assert (run.returncode, error) == (130, "interrupted\n")
    assert none_left(run.pid)


def digests(folder: Path) -> dict[str, str]:
    return {p.name: p.read_text(encoding="utf-8") for p in sorted(folder.iterdir()) if not p.name.startswith("worker-")}


@LINUX
def test_killed_at_any_moment_twice_at_once_and_resumed_the_files_are_the_same(program, tmp_path):
    for finished in (0, 1, 3):
        run = program(0.05)
        for _ in range(1 + finished):
            run.stdout.readline()
        os.killpg(run.pid, signal.SIGKILL)
        run.communicate()
    both = [program(0.05), program(0.05)]
    for run in both:
        assert run.communicate(timeout=60)[1] == ""
        assert run.returncode == 0
    kept = {name: json.loads(text) for name, text in digests(tmp_path / "kept").items() if name[0] != "."}
    assert {name: record["result"] for name, record in kept.items()} == {f"{c}.json": c for c in "abcdefgh"}
    texts = {name: text for name, text in digests(tmp_path / "out").items() if name[0] != "."}
    assert texts == {f"{c}.txt": w.upper() for c, w in zip("abcdefgh", "stuvwxyz", strict=True)}
