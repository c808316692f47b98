"""Which label values many masks hold."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_spine.io.label_ids import present_values
from nnunet_spine.io.masks import read_mask, voxels_in, with_data_files
from nnunet_spine.jobs import Done, Run, run_jobs


@dataclass(frozen=True)
class ValuesJob:
    """One mask to look through; picklable."""

    path: Path

    @property
    def case(self) -> str:
        return str(self.path)

    def inputs(self) -> Mapping[str, Path]:
        return with_data_files({"mask": self.path})

    def parameters(self) -> object:
        return None

    def peak_bytes(self) -> float:
        return 2.0 * voxels_in(self.path)

    def run(self) -> set[int]:
        return present_values(read_mask(self.path).labels)


def values_of_masks(masks: Sequence[Path], run: Run) -> Iterator[set[int]]:
    """The values of each readable mask, without 0; the others are reported when they are scored."""
    jobs = [ValuesJob(path) for path in masks]
    for outcome in run_jobs(jobs, ValuesJob.run, executor=run.executor, peak_bytes=ValuesJob.peak_bytes):
        if isinstance(outcome, Done):
            yield outcome.result
