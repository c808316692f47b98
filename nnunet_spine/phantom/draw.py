"""One phantom from a seed."""

from dataclasses import dataclass, field, replace

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
from nnunet_spine.phantom.wide import look, organs, skeleton
from nnunet_spine.phantom.wide import warp as warping
from nnunet_spine.phantom.wide.wear import Wear, dents, draw_wear, osteophytes, vary_dimensions

# Codes of the distance field: number of the level in the sequence + 1, or one of these.
SACRUM_CODE, RIB_CODE, PELVIS_CODE, OTHER_CODE = 100, 101, 102, 103

_PATIENT_STREAMS = ("variants", "dimensions", "pose", "fractures", "torso", "ribs", "implants")
_SCAN_STREAMS = ("view", "tissue", "texture", "noise", "orientation")
_WIDE_STREAMS = ("wear", "skeleton", "organs", "warp")  # of the patient
_STREAMS = (*_PATIENT_STREAMS, *_SCAN_STREAMS, *_WIDE_STREAMS)


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
    wear: Wear | None = None


@dataclass(frozen=True)
class _Scene:
    """A patient in a field of view, before it has an image."""

    grid: Grid
    patient: _Patient
    torso: surroundings.Torso
    bone: DistanceField
    implants: Implants
    tissue: render.Tissue


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
    bone = _draw_bone(rngs, grid, patient, torso)
    seen = [i for i in range(len(patient.levels)) if _inside(grid, patient.frames.centres_mm[i])]
    screws, cement = rngs["implants"].random(2) < (options.screws_probability, options.cement_probability)
    implants = draw_implants(
        rngs["implants"], patient.frames, patient.levels, patient.dims, seen, bool(screws), bool(cement)
    )
    disc = view.round_field(grid) if round_fov else None
    scene = _Scene(grid, patient, torso, bone, implants, render.draw_tissue(rngs["tissue"]))
    centres_mm = patient.frames.centres_mm
    if options.domain == "wide":
        image = _draw_wide_image(rngs, scene)
        image, centres_mm = _deform(rngs["warp"], grid, image, bone, centres_mm)
        image = look.scan(rngs["noise"], image, grid, look.draw_scanner(rngs["noise"]), disc)
    else:
        image = render.finish(rngs["noise"], _draw_image(rngs, scene), scene.tissue, disc)
    return _assemble(rngs["orientation"], options, grid, patient, bone, image, disc, implants, centres_mm)


def _draw_patient(rngs: dict[str, np.random.Generator], options: PhantomOptions) -> _Patient:
    rng = rngs["variants"]
    variant = rng.random(2) < options.variant_probability / 2
    unusual = rng.choice([11, 13]), rng.choice([4, 6])
    last_thoracic = options.last_thoracic or (int(unusual[0]) if variant[0] else 12)
    last_lumbar = options.last_lumbar or (int(unusual[1]) if variant[1] else 5)
    levels = spine_sequence(last_thoracic=last_thoracic, last_lumbar=last_lumbar)
    dims, wear = draw_dimensions(rngs["dimensions"], levels), None
    if options.domain == "wide":
        wear = draw_wear(rngs["wear"], len(levels))
        dims = vary_dimensions(rngs["wear"], dims, wear)
    fractures = _draw_fractures(rngs["fractures"], levels, options)
    spacing = np.array([d.spacing for d in dims[:-1]])
    bend = np.zeros(len(levels))
    for i, level in enumerate(levels):
        if level in fractures and fractures[level].kind == "wedge":
            bend[i] = 0.6 * np.rad2deg(np.arctan(fractures[level].loss * dims[i].height / dims[i].depth))
    scoliosis = bool(rngs["pose"].random() < options.scoliosis_probability)
    spacing = np.concatenate([spacing, surroundings.sacral_spacing_mm(dims[-1])])
    frames = draw_pose(rngs["pose"], levels, spacing, bend, scoliosis, surroundings.N_SACRAL)
    return _Patient(levels, dims, frames, fractures, wear)


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


def _draw_bone(
    rngs: dict[str, np.random.Generator], grid: Grid, patient: _Patient, torso: surroundings.Torso
) -> DistanceField:
    bone = DistanceField(grid)
    last, frames, wear = patient.dims[-1], patient.frames, patient.wear
    bone.add_loose(surroundings.rib_solids(frames, patient.levels, patient.dims, torso, rngs["ribs"]), RIB_CODE)
    bone.add_loose(surroundings.ilium_solids(frames, last), PELVIS_CODE)
    bone.add_loose(surroundings.condyle_solids(frames), PELVIS_CODE)
    if wear is not None:
        bone.add_loose(skeleton.other_bones(rngs["skeleton"], frames, patient.levels, last, torso), OTHER_CODE)
    bone.add_bone(surroundings.sacrum_solids(frames, last), [], SACRUM_CODE)
    for i in reversed(range(len(patient.levels))):
        level, d = patient.levels[i], patient.dims[i]
        vertebra = build_vertebra(level, d, frames, i, patient.fractures.get(level))
        if wear is None or i == 0:
            bone.add_bone(vertebra.solids, vertebra.carved, i + 1)
        else:
            spurs = osteophytes(rngs["wear"], frames, i, d, wear)
            holes = dents(rngs["wear"], frames, i, d, wear)
            bone.add_bone([*vertebra.solids, *spurs], [*vertebra.carved, *holes], i + 1, wear.joint_space_mm)
    return bone


def _draw_image(rngs: dict[str, np.random.Generator], scene: _Scene) -> np.ndarray:
    spine = (scene.patient.frames, scene.patient.levels, scene.patient.dims)
    image = render.soft_tissue(rngs["texture"], scene.grid, scene.tissue, scene.torso, *spine)
    render.paint_bone(rngs["texture"], image, scene.bone, scene.tissue, SACRUM_CODE)
    paint_implants(image, scene.grid, scene.implants)
    return image


def _draw_wide_image(rngs: dict[str, np.random.Generator], scene: _Scene) -> np.ndarray:
    rng, spine = rngs["tissue"], (scene.patient.frames, scene.patient.levels, scene.patient.dims)
    plain = replace(scene.tissue, aorta=45.0, lung=rng.uniform(-950, -650))  # vessels come with the organs
    image = render.soft_tissue(rngs["texture"], scene.grid, plain, scene.torso, *spine)
    look.paint(rngs["texture"], image, scene.grid, organs.draw_organs(rngs["organs"], *spine, scene.torso))
    others = {code: look.draw_bone(rng) for code in (SACRUM_CODE, RIB_CODE, PELVIS_CODE, OTHER_CODE)}
    vertebrae = look.draw_bone(rng)
    others[SACRUM_CODE] = others[SACRUM_CODE] if rng.random() < 0.3 else vertebrae
    look.paint_bones(rngs["texture"], image, scene.bone, vertebrae, others)
    paint_implants(image, scene.grid, scene.implants)
    return image


def _deform(
    rng: np.random.Generator, grid: Grid, image: np.ndarray, bone: DistanceField, centres_mm: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Bend image, bone (in place) and centres in two of three patients."""
    amount = rng.uniform(0.5, 3.5)
    if rng.random() < 1 / 3:
        return image, centres_mm
    displacement = warping.draw_warp(rng, grid, amount)
    bone.distance_mm = warping.warp(bone.distance_mm, displacement, 1)
    bone.code = warping.warp(bone.code, displacement, 0)
    index = [warping.moved((c - grid.first_mm) / grid.spacing_mm, displacement) for c in centres_mm]
    return warping.warp(image, displacement, 1), np.array(index) * grid.spacing_mm + grid.first_mm


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
    centres_mm: np.ndarray,
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
    labelled = {c: n for c, n in labelled.items() if n == "C1" or _inside(grid, centres_mm[c - 1])}
    codes[~np.isin(codes, [0, *labelled])] = 0
    affine = grid.affine()
    shift = np.round(rng.uniform(-150, 150, 3), 1)
    affine[:3, 3] += shift
    centres = {n: centres_mm[c - 1] + shift for c, n in labelled.items()}
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
