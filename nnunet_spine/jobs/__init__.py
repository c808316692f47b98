"""Many cases: in one process, in several, or in shards on several machines, with the same files in the end.

`run_jobs` takes cases and yields what became of each as it finishes. Finished work is kept in a `Store` and recognised
by the contents of the files it was made of; a case that fails, or whose process is killed, costs nothing but itself.
What computes is an `Executor`: one method, so that a cluster's scheduler takes part as one more class beside
`Processes`.
"""

from nnunet_spine.jobs.contents import Contents, contents_of, unchanged
from nnunet_spine.jobs.executors import HERE, Executor, Here, Lost
from nnunet_spine.jobs.memory import choose_workers, memory_bytes, usable_cores
from nnunet_spine.jobs.outcome import Done, Failure, failure_of
from nnunet_spine.jobs.processes import Processes, processes
from nnunet_spine.jobs.progress import counted, progress_bar, say_beside_bar
from nnunet_spine.jobs.runner import ALONE, Job, Run, contents_of_inputs, joined, run_jobs
from nnunet_spine.jobs.shards import WHOLE, Shard
from nnunet_spine.jobs.store import Store
from nnunet_spine.jobs.workplace import Workplace

__all__ = [
    "ALONE",
    "HERE",
    "WHOLE",
    "Contents",
    "Done",
    "Executor",
    "Failure",
    "Here",
    "Job",
    "Lost",
    "Processes",
    "Run",
    "Shard",
    "Store",
    "Workplace",
    "choose_workers",
    "contents_of",
    "contents_of_inputs",
    "counted",
    "failure_of",
    "joined",
    "memory_bytes",
    "processes",
    "progress_bar",
    "run_jobs",
    "say_beside_bar",
    "unchanged",
    "usable_cores",
]
