"""A folder of phantoms laid out like the subject-based VerSe data sets."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np

from nnunet_spine import __version__
from nnunet_spine.anatomy import BY_NAME
from nnunet_spine.errors import InputError
from nnunet_spine.geometry import axis_codes, to_index
from nnunet_spine.io.files import read_json, remove_left_over, write_json
from nnunet_spine.io.label_tables import write_mask
from nnunet_spine.io.nifti import write_nifti
from nnunet_spine.io.viewer_tables import write_sidecars
from nnunet_spine.jobs import ALONE, Done, Failure, Run, run_jobs
from nnunet_spine.phantom.draw import Phantom, draw_phantom
from nnunet_spine.phantom.options import PLAIN, PhantomOptions

SPLITS = ("01training", "02validation", "03test")
RECORD = "phantom.json"
VIEWS = ("mixed", "whole", "crop", "lumbar")

_CYCLE = 20
_VARIANTS = {3: ("last_lumbar", 6), 9: ("last_thoracic", 13), 12: ("last_lumbar", 6), 14: ("last_thoracic", 11),
             19: ("last_lumbar", 4)}  # fmt: skip
"""Patients, modulo `_CYCLE`, with an unusual number of levels; VerSe has some 14 % with L6 and a few of the others."""
_TWO_SERIES = 7
"""Patient, modulo `_CYCLE`, with two scans."""
_LARGEST_MM3 = 150.0 * 260.0 * 650.0
"""Field of view around a whole spine."""
_BYTES_PER_VOXEL = 30  # distances, codes, noise and the image, measured


@dataclass(frozen=True)
class TreeOptions:
    """What the cases of a tree are like.

    Attributes:
        seed: of the whole tree.
        spacing_mm: voxel size along x, y, z; or two values, a range from which each case draws its own, isotropic or
            with thicker axial or sagittal slices.
        shape: voxels along x, y, z before reorientation; None fits the field of view to the levels shown.
        view: "whole" shows the whole spine, "crop" 7 to 13 levels, "mixed" both, "lumbar" the lowest 5 to 7. Not with
            `shape`.
        split: shares of training, validation and test.
        plain: no variants, scoliosis, fractures, implants, cropping, or reorientation.
        domain: "usual" or "wide", see `PhantomOptions`; wide cases label vertebrae cut by the field of view, too.
    """

    seed: int = 0
    spacing_mm: tuple[float, ...] = (1.0, 3.0)
    shape: tuple[int, int, int] | None = None
    view: str = "mixed"
    split: tuple[float, float, float] = (60.0, 20.0, 20.0)
    plain: bool = False
    domain: str = "usual"

    def __post_init__(self):
        if self.seed < 0:
            raise InputError(f"seed {self.seed}; expected 0 or more")
        if self.view not in VIEWS:
            raise InputError(f"view '{self.view}'; expected {', '.join(VIEWS)}")
        if len(self.split) != 3 or min(self.split) < 0 or sum(self.split) <= 0:
            raise InputError(f"split {self.split}; expected shares of training, validation and test, e.g. 60 20 20")
        PhantomOptions(shape=self.shape, spacing_mm=self.spacing_mm, domain=self.domain)


@dataclass(frozen=True)
class Case:
    """One scan of a tree.

    Attributes:
        split: folder, e.g. "dataset-01training".
        subject: e.g. "sub-phantom001".
        stem: file names up to "_ct.nii.gz".
        seed, scan, options: arguments of `draw_phantom`.
    """

    split: str
    subject: str
    stem: str
    seed: int
    scan: int
    options: PhantomOptions

    @property
    def case(self) -> str:
        return self.stem

    def peak_bytes(self) -> float:
        """Memory that drawing takes, at most."""
        voxels = np.prod(self.options.shape) if self.options.shape else _LARGEST_MM3 / np.prod(self.options.spacing_mm)
        return float(_BYTES_PER_VOXEL * voxels)

    def files(self, root: Path) -> tuple[Path, Path, Path]:
        """Image, mask and centroids, in the order in which they are written."""
        truth = root / self.split / "derivatives" / self.subject
        return (
            root / self.split / "rawdata" / self.subject / f"{self.stem}_ct.nii.gz",
            truth / f"{self.stem}_seg-vert_msk.nii.gz",
            truth / f"{self.stem}_seg-subreg_ctd.json",
        )


def plan_cases(n: int, options: TreeOptions) -> list[Case]:
    """The first n cases of a tree; case i does not depend on n.

    Splits are dealt out so that their shares hold at every n as well as they can; both scans of a patient go together.
    """
    shares = np.array(options.split, float) / sum(options.split)
    counts, cases, patient, scan = np.zeros(3), [], 0, 0
    first = 1
    for number in range(1, n + 1):
        if scan == 0:
            split = int(np.argmax(shares * number - counts))
            first = number
        counts[split] += 1
        two_series = not options.plain and patient % _CYCLE == _TWO_SERIES
        cases.append(_case(options, patient, scan, number, first, two_series, f"dataset-{SPLITS[split]}"))
        scan = 1 if two_series and scan == 0 else 0
        patient += scan == 0
    return cases


def _case(options: TreeOptions, patient: int, scan: int, number: int, first: int, two_series: bool, split: str) -> Case:
    rng = np.random.default_rng([options.seed, patient, scan, 1])
    seed = int(np.random.SeedSequence([options.seed, patient]).generate_state(1)[0])
    drawn, show_direction = _draw_spacing(rng, options.spacing_mm[0], options.spacing_mm[-1]), bool(rng.random() < 0.6)
    spacing = drawn if len(options.spacing_mm) == 2 else options.spacing_mm
    variant = None if options.plain else _VARIANTS.get(patient % _CYCLE)
    whole = bool(rng.random() < 0.35) or variant is not None  # a variant shows in full
    whole = {"mixed": whole, "whole": True, "crop": False, "lumbar": False}[options.view]
    lumbar = options.view == "lumbar"
    stem = subject = f"sub-phantom{first:03d}"
    if two_series:
        stem += f"_split-phantom{number:03d}"
    if show_direction:
        stem += f"_dir-{_direction(spacing)}"
    choices = {
        "shape": options.shape,
        "spacing_mm": spacing,
        "levels_in_view": (5, 7) if lumbar else None if whole else (7, 13),
        "lowest_levels": lumbar,
        "variant_probability": 0.0,
        "z_crop_probability": 0.15,
        "circular_fov_probability": 0.1,
        "random_orientation": True,
        "domain": options.domain,
        "keep_partial": options.domain == "wide",
    }
    choices |= {} if variant is None else dict([variant])
    choices |= PLAIN if options.plain else {}
    return Case(split, subject, stem, seed, scan, PhantomOptions(**choices))


def _draw_spacing(rng: np.random.Generator, low: float, high: float) -> tuple[float, float, float]:
    middle = (low + high) / 2
    fine, thick = round(float(rng.uniform(low, middle)), 2), round(float(rng.uniform(middle, high)), 2)
    kind = rng.choice(["iso", "ax", "sag"], p=[0.35, 0.4, 0.25])
    isotropic = round(float(rng.uniform(low + 0.1 * (high - low), high)), 2)
    return {"iso": (isotropic,) * 3, "ax": (fine, fine, thick), "sag": (thick, fine, fine)}[str(kind)]


def _direction(spacing_mm: tuple[float, float, float]) -> str:
    """VerSe's name for the plane of best resolution."""
    thickest = int(np.argmax(spacing_mm))
    return "iso" if len(set(spacing_mm)) == 1 else ("sag", "cor", "ax")[thickest]


def centroid_list(phantom: Phantom) -> list[dict]:
    """The content of a `_seg-subreg_ctd.json` file: axis codes, then 0-based voxel indices rounded to one decimal."""
    rows: list[dict] = [{"direction": list(axis_codes(phantom.affine))}]
    for name, world_mm in phantom.body_centres_mm.items():
        x, y, z = (round(float(v), 1) for v in to_index(phantom.affine, world_mm))
        rows.append({"label": BY_NAME[name].verse_id, "X": x, "Y": y, "Z": z})
    return rows


def write_case(root: Path, case: Case) -> None:
    """Draw one case and write its three files; the centroids come last and mark the case as complete."""
    phantom = draw_phantom(case.seed, case.options, scan=case.scan)
    if not phantom.body_centres_mm:  # the crop or the round field of view cut every vertebra
        kinder = replace(case.options, z_crop_probability=0.0, circular_fov_probability=0.0)
        phantom = draw_phantom(case.seed, kinder, scan=case.scan)
    image, mask, centroids = case.files(root)
    write_nifti(image, phantom.image, phantom.affine)
    write_mask(mask, phantom.mask, phantom.affine, "verse")
    write_json(centroids, centroid_list(phantom))


@dataclass(frozen=True)
class Tree:
    """What a run has left in a folder.

    Attributes:
        cases: complete ones.
        missing: others, which failed or are left to other parts.
        failures: of this run.
    """

    cases: tuple[Case, ...]
    missing: tuple[Case, ...]
    failures: tuple[Failure, ...]


def write_tree(root: str | Path, n: int, options: TreeOptions, run: Run = ALONE) -> Tree:
    """Write n cases below `root`; complete cases of other runs with the same options are kept.

    Raises:
        InputError: n below 1, or `root` holds something else or a tree with other options.
        WriteError: `root` cannot be written.
    """
    root = Path(root)
    if n < 1:
        raise InputError(f"{n} phantoms; expected 1 or more")
    cases = plan_cases(n, options)
    _claim(root, n, options)
    mine = run.shard.of(cases)
    left = _incomplete(root, mine)
    before = (Done(case.case, None) for case in mine if case.case not in {other.case for other in left})
    drawn = run_jobs(left, partial(write_case, root), executor=run.executor, peak_bytes=Case.peak_bytes)
    failures = tuple(o for o in run.progress(chain(before, drawn), len(mine)) if isinstance(o, Failure))
    for folder in {path.parent for case in mine for path in case.files(root)}:
        remove_left_over(folder)
    missing = {case.case for case in _incomplete(root, cases)}
    complete = tuple(case for case in cases if case.case not in missing)
    return Tree(complete, tuple(case for case in cases if case.case in missing), failures)


def _incomplete(root: Path, cases: Sequence[Case]) -> list[Case]:
    return [case for case in cases if not all(path.is_file() for path in case.files(root))]


def _claim(root: Path, n: int, options: TreeOptions) -> None:
    """Record the options in the folder, or check that they are the recorded ones."""
    if root.exists() and not root.is_dir():
        raise InputError("is a file", "choose a folder", root)
    parameters = {"version": __version__, **asdict(options)}
    parameters = {k: list(v) if isinstance(v, tuple) else v for k, v in parameters.items()}
    record = root / RECORD
    if record.is_file():
        found = read_json(record)
        earlier = found.get("parameters") if isinstance(found, dict) else None
        if not isinstance(earlier, dict):
            raise InputError("not a record of phantoms", "choose another folder", record)
        changed = [k for k in sorted({*earlier, *parameters}) if earlier.get(k) != parameters.get(k)]
        if changed:
            was = ", ".join(f"{k} {earlier.get(k)}, not {parameters.get(k)}" for k in changed)
            raise InputError(
                f"holds phantoms of another kind ({was})", "choose another folder or delete this one", root
            )
        if n < found.get("cases", 0):
            raise InputError(
                f"holds a tree of {found['cases']} phantoms; {n} were asked for",
                "choose another folder or delete this one",
                root,
            )
    elif root.is_dir() and any(not p.name.startswith(".") for p in root.iterdir()):
        raise InputError("not empty, and not written by this command", "choose another folder", root)
    write_json(record, {"cases": n, "parameters": parameters})
    write_sidecars(root, "verse")
