"""One phantom from a seed."""

from dataclasses import dataclass, field

import cc3d
import numpy as np

from nnunet_spine.anatomy import BY_NAME, spine_sequence
from nnunet_spine.geometry import axis_codes, reorient, to_world
from nnunet_spine.phantom import render, surroundings, view
from nnunet_spine.phantom.dimensions import Dimensions, draw_dimensions
from nnunet_spine.phantom.grid import DistanceField, Grid
from nnunet_spine.phantom.implants import Implants, draw_implants, paint_implants
from nnunet_spine.phantom.options import PhantomOptions
from nnunet_spine.phantom.pose import Frames, draw_pose
from nnunet_spine.phantom.vertebra import Fracture, build_vertebra

# Codes of the distance field: number of the level in the sequence + 1, or one of these.
SACRUM_CODE, RIB_CODE, PELVIS_CODE = 100, 101, 102

_PATIENT_STREAMS = ("variants", "dimensions", "pose", "fractures", "torso", "ribs", "implants")
_SCAN_STREAMS = ("view", "tissue", "texture", "noise", "orientation")
_STREAMS = (*_PATIENT_STREAMS, *_SCAN_STREAMS)


@dataclass(frozen=True)
class Phantom:
    """A synthetic CT scan of a spine with its truth.

    Attributes:
        image: int16 HU.
        mask: uint8 VerSe ids (T13 is 28), same shape; vertebrae cut by the field of view are background unless asked.
        affine: 4 x 4, voxel index -> RAS mm.
        body_centres_mm: world position (3,) per labelled level, cranial to caudal; C1: centroid of the ring.
        levels: the whole spine that was drawn, cranial to caudal, in view or not.
        fractures: compression fractures, in view or not.
        implants: screws and cement.
        spacing_to_next_mm: drawn distance from each level's body centre to that of the next, for all but the last.
        largest_component: fraction of each labelled vertebra in its largest connected part, before crumbs were dropped.
    """

    image: np.ndarray
    mask: np.ndarray
    affine: np.ndarray
    body_centres_mm: dict[str, np.ndarray]
    levels: tuple[str, ...]
    fractures: tuple[Fracture, ...] = ()
    implants: Implants = field(default_factory=Implants)
    spacing_to_next_mm: dict[str, float] = field(default_factory=dict)
    largest_component: dict[str, float] = field(default_factory=dict)

    @property
    def orientation(self) -> str:
        """Axis codes of the arrays, e.g. "PIR"."""
        return axis_codes(self.affine)


@dataclass(frozen=True)
class _Patient:
    levels: tuple[str, ...]
    dims: tuple[Dimensions, ...]
    frames: Frames
    fractures: dict[str, Fracture]


def draw_phantom(seed: int, options: PhantomOptions = PhantomOptions(), *, scan: int = 0) -> Phantom:  # noqa: B008
    """Draw one synthetic CT of a spine.

    The patient depends on the seed and the options on anatomy only: field of view, voxel size, axis order and image
    quality are drawn independently, so the same seed gives the same spine at every spacing and orientation.

    Args:
        seed: non-negative; equal seeds and options give identical arrays.
        options: see `PhantomOptions`.
        scan: another number gives another scan of the same patient: field of view, densities, noise.

    Example:
        >>> phantom = draw_phantom(1, PhantomOptions(shape=None, spacing_mm=(4.0, 4.0, 4.0), levels_in_view=(2, 2)))
        >>> phantom.image.shape == phantom.mask.shape, len(phantom.body_centres_mm)
        (True, 2)
    """
    rngs = {
        name: np.random.default_rng([seed, k, scan if name in _SCAN_STREAMS else 0]) for k, name in enumerate(_STREAMS)
    }
    patient = _draw_patient(rngs, options)
    low, high = view.extents_mm(patient.frames, patient.levels, patient.dims)
    crop, round_fov = rngs["view"].random(2) < (options.z_crop_probability, options.circular_fov_probability)
    grid = view.draw_grid(rngs["view"], options, low, high, bool(crop))
    torso = surroundings.draw_torso(rngs["torso"], patient.frames, patient.levels, patient.dims)
    bone = _draw_bone(rngs["ribs"], grid, patient, torso)
    seen = [i for i in range(len(patient.levels)) if _inside(grid, patient.frames.centres_mm[i])]
    screws, cement = rngs["implants"].random(2) < (options.screws_probability, options.cement_probability)
    implants = draw_implants(
        rngs["implants"], patient.frames, patient.levels, patient.dims, seen, bool(screws), bool(cement)
    )
    disc = view.round_field(grid) if round_fov else None
    image = _draw_image(rngs, grid, patient, torso, bone, implants, disc)
    return _assemble(rngs["orientation"], options, grid, patient, bone, image, disc, implants)


def _draw_patient(rngs: dict[str, np.random.Generator], options: PhantomOptions) -> _Patient:
    rng = rngs["variants"]
    variant = rng.random(2) < options.variant_probability / 2
    unusual = rng.choice([11, 13]), rng.choice([4, 6])
    last_thoracic = options.last_thoracic or (int(unusual[0]) if variant[0] else 12)
    last_lumbar = options.last_lumbar or (int(unusual[1]) if variant[1] else 5)
    levels = spine_sequence(last_thoracic=last_thoracic, last_lumbar=last_lumbar)
    dims = draw_dimensions(rngs["dimensions"], levels)
    fractures = _draw_fractures(rngs["fractures"], levels, options)
    spacing = np.array([d.spacing for d in dims[:-1]])
    bend = np.zeros(len(levels))
    for i, level in enumerate(levels):
        if level in fractures and fractures[level].kind == "wedge":
            bend[i] = 0.6 * np.rad2deg(np.arctan(fractures[level].loss * dims[i].height / dims[i].depth))
    scoliosis = bool(rngs["pose"].random() < options.scoliosis_probability)
    spacing = np.concatenate([spacing, surroundings.sacral_spacing_mm(dims[-1])])
    frames = draw_pose(rngs["pose"], levels, spacing, bend, scoliosis, surroundings.N_SACRAL)
    return _Patient(levels, dims, frames, fractures)


def _draw_fractures(rng: np.random.Generator, levels: tuple[str, ...], options: PhantomOptions) -> dict[str, Fracture]:
    """One to three compression fractures, most of them near the thoracolumbar junction."""
    candidates = [name for name in levels if name[0] in "TL" and name not in ("T1", "T2", "T3")]
    junction = candidates.index("L1")
    odds = np.array([np.exp(-(((i - junction) / 4) ** 2)) + 0.15 for i in range(len(candidates))])
    any_, number = rng.random() < options.fracture_probability, int(rng.integers(1, 4))
    chosen = sorted(rng.choice(len(candidates), number, replace=False, p=odds / odds.sum()).tolist())
    fractures = {}
    for i in chosen:
        kind = "wedge" if rng.random() < 0.6 else "biconcave"
        grade = int(rng.choice([1, 2, 3], p=[0.4, 0.4, 0.2]))
        grade, where = options.fracture_grade or grade, rng.random()
        low, high = {1: (0.2, 0.25), 2: (0.25, 0.4), 3: (0.4, 0.5)}[grade]
        fractures[candidates[i]] = Fracture(candidates[i], kind, grade, low + (high - low) * where)
    return fractures if any_ else {}


def _draw_bone(rng: np.random.Generator, grid: Grid, patient: _Patient, torso: surroundings.Torso) -> DistanceField:
    bone = DistanceField(grid)
    last, frames = patient.dims[-1], patient.frames
    bone.add_loose(surroundings.rib_solids(frames, patient.levels, patient.dims, torso, rng), RIB_CODE)
    bone.add_loose(surroundings.ilium_solids(frames, last), PELVIS_CODE)
    bone.add_loose(surroundings.condyle_solids(frames), PELVIS_CODE)
    bone.add_bone(surroundings.sacrum_solids(frames, last), [], SACRUM_CODE)
    for i in reversed(range(len(patient.levels))):
        level = patient.levels[i]
        vertebra = build_vertebra(level, patient.dims[i], frames, i, patient.fractures.get(level))
        bone.add_bone(vertebra.solids, vertebra.carved, i + 1)
    return bone


def _draw_image(
    rngs: dict[str, np.random.Generator],
    grid: Grid,
    patient: _Patient,
    torso: surroundings.Torso,
    bone: DistanceField,
    implants: Implants,
    disc: np.ndarray | None,
) -> np.ndarray:
    tissue = render.draw_tissue(rngs["tissue"])
    image = render.soft_tissue(rngs["texture"], grid, tissue, torso, patient.frames, patient.levels, patient.dims)
    render.paint_bone(rngs["texture"], image, bone, tissue, SACRUM_CODE)
    paint_implants(image, grid, implants)
    return render.finish(rngs["noise"], image, tissue, disc)


def _inside(grid: Grid, point_mm: np.ndarray) -> bool:
    index = (point_mm - grid.first_mm) / grid.spacing_mm
    return bool((index > 0).all() and (index < np.array(grid.shape) - 1).all())


def _assemble(
    rng: np.random.Generator,
    options: PhantomOptions,
    grid: Grid,
    patient: _Patient,
    bone: DistanceField,
    image: np.ndarray,
    disc: np.ndarray | None,
    implants: Implants,
) -> Phantom:
    codes = np.where((bone.distance_mm < 0) & (bone.code < SACRUM_CODE), bone.code, np.uint8(0))
    cut = _cut_codes(codes, disc)
    if disc is not None:
        codes[~disc] = 0
    if not options.keep_partial:
        codes[np.isin(codes, list(cut))] = 0
    codes, fractions = keep_largest_components(codes)
    verse = np.zeros(256, np.uint8)
    verse[1 : len(patient.levels) + 1] = [BY_NAME[name].verse_id for name in patient.levels]
    labelled = {int(c): patient.levels[c - 1] for c in sorted(fractions)}
    # A body centre outside the volume cannot be marked, as in VerSe.
    labelled = {c: n for c, n in labelled.items() if n == "C1" or _inside(grid, patient.frames.centres_mm[c - 1])}
    codes[~np.isin(codes, [0, *labelled])] = 0
    affine = grid.affine()
    shift = np.round(rng.uniform(-150, 150, 3), 1)
    affine[:3, 3] += shift
    centres = {n: patient.frames.centres_mm[c - 1] + shift for c, n in labelled.items()}
    if "C1" in centres:
        centres["C1"] = to_world(affine, np.argwhere(codes == patient.levels.index("C1") + 1).mean(0))
    mask = verse[codes]
    order = "".join(pair[rng.integers(2)] for pair in ("LR", "PA", "IS"))
    order = "".join(order[k] for k in rng.permutation(3))
    target = order if options.random_orientation else "RAS"
    turned, turned_affine = reorient(mask, affine, target)
    return Phantom(
        image=np.ascontiguousarray(reorient(image, affine, target)[0]),
        mask=np.ascontiguousarray(turned),
        affine=turned_affine,
        body_centres_mm=centres,
        levels=patient.levels,
        fractures=tuple(patient.fractures[n] for n in patient.levels if n in patient.fractures),
        implants=implants,
        spacing_to_next_mm={n: d.spacing for n, d in zip(patient.levels[:-1], patient.dims, strict=False)},
        largest_component={labelled[c]: f for c, f in fractions.items() if c in labelled},
    )


def _cut_codes(codes: np.ndarray, disc: np.ndarray | None) -> set[int]:
    """Codes that touch a face of the volume or reach outside a round field of view, and so may be cut."""
    faces = [np.unique(codes[(slice(None),) * axis + (end,)]) for axis in range(3) for end in (0, -1)]
    if disc is not None:
        faces.append(np.unique(codes[~disc]))
    return {int(c) for c in np.concatenate(faces)} - {0}


def keep_largest_components(codes: np.ndarray) -> tuple[np.ndarray, dict[int, float]]:
    """Drop all but the largest 26-connected part of every label.

    Returns:
        The array without crumbs, and for every label the fraction of its voxels that was kept.
    """
    used = np.flatnonzero(codes.any((0, 1)))
    if not len(used):
        return codes, {}
    part = codes[:, :, used[0] : used[-1] + 1]
    components = cc3d.connected_components(part, connectivity=26)
    sizes = np.bincount(components.ravel())
    owner = np.zeros(len(sizes), codes.dtype)
    owner[components.ravel()] = part.ravel()
    kept, fractions = np.zeros(len(sizes), bool), {}
    for code in np.unique(owner[1:]):
        members = np.flatnonzero(owner == code)
        members = members[members > 0]
        largest = members[np.argmax(sizes[members])]
        kept[largest] = True
        fractions[int(code)] = float(sizes[largest] / sizes[members].sum())
    cleaned = np.zeros_like(codes)
    cleaned[:, :, used[0] : used[-1] + 1] = np.where(kept[components], part, 0)
    return cleaned, fractions
