"""What to draw: every choice that is not left to the seed."""

from dataclasses import dataclass

import numpy as np

from nnunet_spine.errors import InputError

DOMAINS = ("usual", "wide")
FINEST_MM, COARSEST_MM = 0.5, 5.0  # coarser voxels leave a handful of the upper cervical levels


@dataclass(frozen=True)
class PhantomOptions:
    """Options of `draw_phantom`. Probabilities are per phantom.

    Attributes:
        shape: voxels along x, y, z of the unflipped (RAS) volume, or None for a field of view that just shows the
            levels chosen by `levels_in_view`.
        spacing_mm: voxel size along x, y, z; or two values, the range from which one in-plane and one slice spacing
            are drawn. 0.5-5 mm. Shapes are evaluated at this spacing, nothing is resampled.
        levels_in_view: fewest and most levels shown when `shape` is None; None shows the whole spine.
        lowest_levels: the levels in view are the lowest ones, as in CT of the lumbar spine, and not just any.
        last_thoracic: 11, 12 or 13; None draws it (12 unless a variant is drawn).
        last_lumbar: 4, 5 or 6; None draws it (5 unless a variant is drawn).
        variant_probability: of an unusual number of thoracic or lumbar levels, where not fixed.
        scoliosis_probability: of a lateral curve with coupled axial rotation.
        fracture_probability: of one to three wedge or biconcave compression fractures.
        fracture_grade: Genant grade 1, 2 or 3; None draws it.
        screws_probability: of pedicle screws with rods and streaks.
        cement_probability: of a cement deposit in one or two bodies.
        z_crop_probability: of keeping only a random 35-90 % of the slices.
        circular_fov_probability: of a round field of view, -1024 HU outside.
        random_orientation: permute and flip the axes at random; the affine follows, the world stays.
        keep_partial: label vertebrae cut by the field of view too (VerSe does not).
        domain: "usual" looks like a common CT; "wide" varies shapes, densities, surroundings and scanners far more, so
            that a real scan is one more variation.
    """

    shape: tuple[int, int, int] | None = (128, 128, 256)
    spacing_mm: tuple[float, ...] = (2.0, 2.0, 2.0)
    levels_in_view: tuple[int, int] | None = None
    lowest_levels: bool = False
    last_thoracic: int | None = None
    last_lumbar: int | None = None
    variant_probability: float = 0.1
    scoliosis_probability: float = 0.3
    fracture_probability: float = 0.4
    fracture_grade: int | None = None
    screws_probability: float = 0.1
    cement_probability: float = 0.1
    z_crop_probability: float = 0.0
    circular_fov_probability: float = 0.0
    random_orientation: bool = False
    keep_partial: bool = False
    domain: str = "usual"

    @property
    def is_range(self) -> bool:
        """Whether `spacing_mm` is a range and not one value per axis."""
        return len(self.spacing_mm) == 2

    def __post_init__(self):
        if self.shape is not None and (len(self.shape) != 3 or min(self.shape) < 16):
            raise InputError(f"phantom shape {self.shape}; expected three numbers of at least 16")
        in_range = all(FINEST_MM <= s <= COARSEST_MM for s in self.spacing_mm)
        if len(self.spacing_mm) not in (2, 3) or not in_range or (self.is_range and np.diff(self.spacing_mm) < 0):
            raise InputError(
                f"voxel size {' '.join(f'{s:g}' for s in self.spacing_mm)} mm",
                f"give one number, two (from, to) or three (x y z), each {FINEST_MM:g} to {COARSEST_MM:g}",
            )
        if self.last_thoracic not in (None, 11, 12, 13) or self.last_lumbar not in (None, 4, 5, 6):
            raise InputError(f"last levels T{self.last_thoracic}, L{self.last_lumbar}; expected T11-T13 and L4-L6")
        if self.fracture_grade not in (None, 1, 2, 3):
            raise InputError(f"Genant grade {self.fracture_grade}; expected 1, 2 or 3")
        if self.levels_in_view is not None and not 1 <= self.levels_in_view[0] <= self.levels_in_view[1]:
            raise InputError(f"levels in view {self.levels_in_view}; expected the fewest and the most, at least 1")
        if self.domain not in DOMAINS:
            raise InputError(f"domain '{self.domain}'; expected {' or '.join(DOMAINS)}")
        for name, value in vars(self).items():
            if name.endswith("_probability") and not 0 <= value <= 1:
                raise InputError(f"{name} {value}; expected 0 to 1")


PLAIN = {
    "variant_probability": 0.0,
    "scoliosis_probability": 0.0,
    "fracture_probability": 0.0,
    "screws_probability": 0.0,
    "cement_probability": 0.0,
    "z_crop_probability": 0.0,
    "circular_fov_probability": 0.0,
    "random_orientation": False,
}
"""Keyword arguments of `PhantomOptions` for healthy, unflipped, uncropped spines of 7, 12 and 5 levels."""
