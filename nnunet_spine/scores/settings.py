"""Every choice that a score depends on, in one place, so that a table can state them."""

from dataclasses import dataclass

from nnunet_spine.errors import InputError
from nnunet_spine.scores.identification import IDENTIFICATION_RADIUS_MM

HD95_RULES = ("pooled", "max-directed")
CENTRE_DEFINITIONS = {"mask": "centroid of the whole vertebra mask", "body": "centre of the vertebral body"}


@dataclass(frozen=True)
class Settings:
    """Choices of `score_case`, `score_centres` and `summarise_cohort`.

    Attributes:
        centre: point of a mask, in prediction and reference alike: "mask" (its centroid) or "body"
            (`centroids.body_centre`). The two differ by 8-15 mm: take "body" where given reference centres are body
            centres, as those of VerSe's subject-based files and of Glocker's scans.
        identification_radius_mm: largest distance of an identified vertebra; exactly so far passes.
        nsd_tolerance_mm: distance up to which two surfaces count as the same.
        hd95: "pooled" or "max-directed", see the metric HD95.
        covering_share: part of a vertebra's mask that one predicted level must cover to be what it was found as.
        miss_penalty_mm: distance that a missed vertebra enters `localisation_error_penalised_mm` with. No published
            value is known to us; it must stand beside every such number.
        bootstrap_draws, bootstrap_seed: of the 95 % intervals of a cohort.

    Raises:
        InputError: unknown `centre` or `hd95`, lengths that are not positive, a share outside ]0, 1], fewer than 1
            draw.
    """

    centre: str = "mask"
    identification_radius_mm: float = IDENTIFICATION_RADIUS_MM
    nsd_tolerance_mm: float = 1.0
    hd95: str = "pooled"
    covering_share: float = 0.5
    miss_penalty_mm: float = 1000.0
    bootstrap_draws: int = 2000
    bootstrap_seed: int = 0

    def __post_init__(self):
        if self.centre not in CENTRE_DEFINITIONS:
            raise InputError(f"centre '{self.centre}'; expected {' or '.join(CENTRE_DEFINITIONS)}")
        if self.hd95 not in HD95_RULES:
            raise InputError(f"hd95 '{self.hd95}'; expected {' or '.join(HD95_RULES)}")
        for name in ("identification_radius_mm", "nsd_tolerance_mm", "miss_penalty_mm"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} {getattr(self, name)}; expected a positive length")
        if not 0 < self.covering_share <= 1:
            raise InputError(f"covering_share {self.covering_share}; expected more than 0, at most 1")
        if self.bootstrap_draws < 1:
            raise InputError(f"bootstrap_draws {self.bootstrap_draws}; expected at least 1")
