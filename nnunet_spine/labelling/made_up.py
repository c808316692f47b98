"""Made-up spines to learn from: every number of levels, every view, and names that are certain.

Real scans with reference names are mostly of the abdomen, end at L5, and hardly ever have 11 or 13 thoracic levels.
"""

import numpy as np

from nnunet_spine.anatomy import SPACING_MM, spine_sequence
from nnunet_spine.labelling.detections import INDEX, N_STATES, Scan

# Slope of the step from each level to the next, degrees to anterior from straight down: medians of VID, supine.
_SLOPE_DEG = {"C1": -15, "C4": -16, "C6": -20, "T1": -27, "T4": -17, "T7": 4, "T9": 12, "L1": 15, "L3": 6, "L5": -20}
_SACRUM_MM = {"L4": 34.0, "L5": 33.0, "L6": 32.0}  # from the last lumbar body to S1
_UNUSUAL = 0.15  # share of spines with another count of each region; far above prevalence, to learn what they look like
_WITHOUT_REGIONS = 0.25


def made_up_scan(rng: np.random.Generator) -> tuple[Scan, np.ndarray]:
    """A scan of some part of a spine, and the state of each detection (n,)."""
    sequence = spine_sequence(
        last_thoracic=int(rng.choice([11, 12, 13], p=[_UNUSUAL / 2, 1 - _UNUSUAL, _UNUSUAL / 2])),
        last_lumbar=int(rng.choice([4, 5, 6], p=[_UNUSUAL / 2, 1 - _UNUSUAL, _UNUSUAL / 2])),
    )
    points = _curve(sequence, rng)
    names = (*sequence, "S1")
    first = int(rng.integers(0, len(names) - 2))
    length = int(rng.integers(2, len(names) - first + 1))
    rows = np.arange(first, first + length)
    if rng.random() < 0.5:  # detectors see single sacral bodies only now and then
        rows = rows[rows < len(sequence)]
    regions = _region_scores(sequence, rng)[rows]
    if rng.random() < _WITHOUT_REGIONS:
        regions[:] = np.nan
    n, nowhere = len(rows), np.full((len(rows), 3), np.nan)
    scan = Scan(
        points[rows],
        regions,
        np.full((n, N_STATES), np.nan),
        nowhere,
        nowhere.copy(),
        np.ones(n),
        np.zeros(n, bool),
        np.arange(n),
    )
    return scan, np.array([INDEX[names[i]] for i in rows])


def _curve(sequence: tuple[str, ...], rng: np.random.Generator) -> np.ndarray:
    """Body centres (n + 1, 3) of a sequence and S1, RAS mm: sagittal curves, some scoliosis, uneven distances."""
    usual = [name for name in spine_sequence(last_thoracic=13, last_lumbar=6)]
    slope = np.interp(
        [usual.index(name) for name in sequence],
        [usual.index(name) for name in _SLOPE_DEG],
        np.array(list(_SLOPE_DEG.values())) + rng.normal(0, 9, len(_SLOPE_DEG)),
    )
    slope = np.radians(slope + rng.normal(0, 6) + rng.normal(0, 2, len(slope)))
    lateral = np.radians(
        rng.normal(0, 3) + abs(rng.normal(0, 6)) * np.sin(np.arange(len(slope)) / 5 + rng.uniform(0, 6))
    )
    distance = np.array([SPACING_MM[name] for name in sequence[:-1]] + [_SACRUM_MM[sequence[-1]]])
    distance = distance * np.exp(
        rng.normal(0, 0.03, len(distance)) + rng.normal(0, 0.04) * np.linspace(-1, 1, len(distance))
    )
    steps = np.stack([np.sin(lateral), np.sin(slope), -np.cos(slope) * np.cos(lateral)], axis=1) * distance[:, None]
    return np.concatenate([np.zeros((1, 3)), np.cumsum(steps, axis=0)])


def _region_scores(sequence: tuple[str, ...], rng: np.random.Generator) -> np.ndarray:
    """(n + 1, 3) scores, less certain near the boundaries, S1 as lumbar; one boundary may look shifted."""
    index = np.arange(len(sequence) + 1)
    thoracic = [i for i, name in enumerate(sequence) if name[0] == "T"]
    sharpness = rng.uniform(1.5, 8)
    below_c = np.clip(
        sharpness * (index - thoracic[0] + 0.5 + rng.normal(0, 0.25) + rng.normal(0, 0.2, len(index))), -5, 5
    )
    below_t = np.clip(
        sharpness * (index - thoracic[-1] - 0.5 + rng.normal(0, 0.25) + rng.normal(0, 0.2, len(index))), -5, 5
    )
    logits = np.stack([-below_c, np.minimum(below_c, -below_t), below_t], axis=1)
    return 1 / (1 + np.exp(-logits))
