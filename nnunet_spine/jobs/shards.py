"""Part k of n of a list of cases, chosen as nnU-Net's commands do."""

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
