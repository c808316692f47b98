"""Where each vertebra is and how it is turned."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Frames:
    """Local coordinate systems of n levels.

    Attributes:
        centres_mm: (n, 3) origins; body centres (C1: the dens axis at mid ring).
        axes: (n, 3, 3); columns are right, anterior and up of each vertebra in RAS.
    """

    centres_mm: np.ndarray
    axes: np.ndarray

    def to_world(self, i: int, local_mm: np.ndarray) -> np.ndarray:
        """(..., 3) local (right, anterior, up) mm of level i -> (..., 3) RAS mm."""
        return self.centres_mm[i] + np.asarray(local_mm, float) @ self.axes[i].T

    def __len__(self) -> int:
        return len(self.centres_mm)


def sagittal_angles(
    levels: tuple[str, ...], cervical_deg: float, thoracic_deg: float, lumbar_deg: float, sacral_deg: np.ndarray
) -> np.ndarray:
    """Anterior tilt of each level's upward axis, degrees, cranial to caudal, sacral segments last.

    Angles accumulate from level to level: cervical lordosis from C2 to T1, thoracic kyphosis from T1 to the last
    thoracic, lumbar lordosis from there to S1 (three quarters of it in the lower half), then `sacral_deg`.
    """
    regions = [name[0] for name in levels]
    n_cervical, n_thoracic, n_lumbar = (regions.count(r) for r in "CTL")
    cervical = np.ones(n_cervical)
    cervical[0] = 0.2  # C1 on C2
    thoracic = np.sin(np.linspace(0.25, np.pi - 0.25, n_thoracic - 1)) + 0.3
    lumbar = np.linspace(0.25, 1.75, n_lumbar + 1)
    steps = np.concatenate(
        [
            cervical_deg * cervical / cervical.sum(),
            -thoracic_deg * thoracic / thoracic.sum(),
            lumbar_deg * lumbar / lumbar.sum(),
            -np.asarray(sacral_deg, float),
        ]
    )
    angles = np.concatenate([[0.0], np.cumsum(steps)])
    return angles + 0.6 * thoracic_deg - angles[n_cervical]


def rotations(sagittal_deg: np.ndarray, coronal_deg: np.ndarray, axial_deg: np.ndarray) -> np.ndarray:
    """(n, 3, 3) axes from (n,) angles: forward tilt, then tilt to the right, after turning about the own axis."""
    s, c, a = (np.deg2rad(np.asarray(x, float)) for x in (sagittal_deg, coronal_deg, axial_deg))
    zero, one = np.zeros_like(s), np.ones_like(s)

    def stack(*entries: np.ndarray) -> np.ndarray:
        return np.stack(entries, -1).reshape(-1, 3, 3)

    forward = stack(one, zero, zero, zero, np.cos(s), np.sin(s), zero, -np.sin(s), np.cos(s))
    right = stack(np.cos(c), zero, np.sin(c), zero, one, zero, -np.sin(c), zero, np.cos(c))
    about = stack(np.cos(a), -np.sin(a), zero, np.sin(a), np.cos(a), zero, zero, zero, one)
    return right @ forward @ about


def integrate(axes: np.ndarray, spacing_mm: np.ndarray) -> np.ndarray:
    """Centres (n, 3) from axes (n, 3, 3) and the n - 1 distances between centres; the first lies at the origin.

    Each step runs along the mean of the two upward axes, so distances between centres are exactly `spacing_mm`.
    """
    up = axes[:-1, :, 2] + axes[1:, :, 2]
    up /= np.linalg.norm(up, axis=1, keepdims=True)
    return np.concatenate([np.zeros((1, 3)), np.cumsum(-up * np.asarray(spacing_mm)[:, None], 0)])


def scoliosis_angles(rng: np.random.Generator, position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lateral tilt and coupled axial rotation (0.35 x), (n,) degrees each.

    Args:
        position: (n,) from 0 at the top of the spine to 1 at the bottom.
    """
    amplitude = np.clip(rng.normal(0, 18), -30, 30)
    period = rng.uniform(0.6, 1.1)
    apex = rng.uniform(0.35, 0.75)
    fade = np.clip(np.minimum(position / 0.15, (1.0 - position) / 0.1), 0, 1)
    phase = 2 * np.pi * (position - apex) / period
    return amplitude * np.sin(phase) * fade, 0.35 * amplitude * np.cos(phase) * fade


def draw_pose(
    rng: np.random.Generator,
    levels: tuple[str, ...],
    spacing_mm: np.ndarray,
    kyphosis_deg: np.ndarray,
    scoliosis: bool,
    n_sacral: int,
) -> Frames:
    """Pose of a whole spine with its sacral segments.

    Args:
        levels: n names.
        spacing_mm: (n + n_sacral - 1,) distances between successive centres.
        kyphosis_deg: (n,) extra forward bend at each level (fractures).
        scoliosis: whether to bend it sideways.
        n_sacral: number of sacral segments.

    Returns:
        Frames of n + n_sacral levels; the chord from T1 to the last lumbar is upright to about 3 degrees.
    """
    sacral = rng.uniform(6, 14, n_sacral - 1)
    angles = sagittal_angles(
        levels,
        cervical_deg=max(rng.normal(25, 10), -5),
        thoracic_deg=np.clip(rng.normal(40, 9), 15, 70),
        lumbar_deg=np.clip(rng.normal(48, 10), 20, 75),
        sacral_deg=sacral,
    )
    n = len(angles)
    bend = np.concatenate([kyphosis_deg, np.zeros(n_sacral)])
    angles = angles - np.cumsum(bend) + bend / 2 + rng.normal(0, 0.8, n)
    position = np.concatenate([np.linspace(0, 1, len(levels)), np.ones(n_sacral)])
    curve = scoliosis_angles(rng, position)
    coronal, axial = curve if scoliosis else (np.zeros(n), np.zeros(n))
    coronal, axial = coronal + rng.normal(0, 0.7, n), axial + rng.normal(0, 0.8, n)
    sway = rng.normal(0, 3, 2)
    for _ in range(2):
        centres = integrate(rotations(angles, coronal, axial), spacing_mm)
        _, forward, up = centres[levels.index("T1")] - centres[len(levels) - 1]
        sideways = (centres[levels.index("T1")] - centres[len(levels) - 1])[0]
        angles = angles + sway[0] - np.rad2deg(np.arctan2(forward, up))
        coronal = coronal + 0.5 * sway[1] - np.rad2deg(np.arctan2(sideways, up))
    axes = rotations(angles, coronal, axial)
    return Frames(integrate(axes, spacing_mm), axes)
