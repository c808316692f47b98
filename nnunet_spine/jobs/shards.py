"""Part k of n of a list of cases, chosen as nnU-Net's commands do."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from nnunet_spine.errors import InputError

T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """Every `parts`-th case from number `part` on.

    Raises:
        InputError: no such part.
    """

    part: int = 0
    parts: int = 1

    def __post_init__(self):
        if self.parts < 1:
            raise InputError(f"-num_parts {self.parts}", "give 1 or more")
        if not 0 <= self.part < self.parts:
            raise InputError(f"-part_id {self.part} of {self.parts} parts", f"give a number from 0 to {self.parts - 1}")

    @property
    def is_whole(self) -> bool:
        return self.parts == 1

    def of(self, cases: Sequence[T]) -> Sequence[T]:
        """The cases of this part; none where there are more parts than cases."""
        return cases[self.part :: self.parts]

    def __str__(self) -> str:
        return f"part {self.part} of {self.parts}"


WHOLE = Shard()


def add_shard_options(parser: argparse.ArgumentParser) -> None:
    """Add `-num_parts` and `-part_id`, spelled and numbered as in nnUNetv2_predict."""
    parser.add_argument(
        "-num_parts", type=int, default=1, metavar="N",
        help="do every N-th case only, as one of N runs on any machines, at once or not; the last one joins them",
    )  # fmt: skip
    parser.add_argument("-part_id", type=int, default=0, metavar="K", help="which of them, from 0 to N - 1")


def chosen_shard(args: argparse.Namespace) -> Shard:
    """The shard that the options name.

    Raises:
        InputError: no such part.
    """
    return Shard(args.part_id, args.num_parts)
