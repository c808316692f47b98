"""What the page shows of one case besides numbers: its picture, and for some cases slices and surfaces."""

import base64
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from nnunet_spine import __version__, pictures
from nnunet_spine.anatomy import structures
from nnunet_spine.errors import InputError
from nnunet_spine.evaluation import CaseArrays, read_case, score_from_dict
from nnunet_spine.io.files import atomic_path
from nnunet_spine.io.masks import voxels_in, with_data_files
from nnunet_spine.jobs import Contents, Store, unchanged
from nnunet_spine.meshes import Mesh, deviation_meshes, vertebra_meshes
from nnunet_spine.report import encode

AIR_HU = -1000
_BYTES_PER_VOXEL = 12  # CT, two label maps and what is resampled of them
_FILES = {"image": "CT", "reference_mask": "reference mask", "prediction": "prediction"}


@dataclass(frozen=True)
class ViewJob:
    """One case to draw; picklable.

    Attributes:
        index: number of the case; part of its blobs' names.
        entry: of evaluation.json.
        evaluation: path of evaluation.json.
        folder: where blobs are put.
        viewer: whether slices and surfaces are wanted.
    """

    index: int
    entry: Mapping[str, object]
    evaluation: Path
    folder: Path
    viewer: bool

    @property
    def case(self) -> str:
        return str(self.entry["case"])

    @property
    def base(self) -> Path:
        return self.evaluation.parent

    def inputs(self) -> dict[str, Path]:
        return with_data_files({key: self.base / self.entry[key] for key in _FILES if self.entry[key]})

    def parameters(self) -> object:
        return [__version__, self.index, self.entry, self.viewer]

    def peak_bytes(self) -> float:
        """Memory that drawing takes, at most."""
        return float(_BYTES_PER_VOXEL * max((voxels_in(file) for file in self.inputs().values()), default=0))


@dataclass(frozen=True)
class Views:
    """What could be made of a case.

    Attributes:
        index: number of the case.
        blobs: name in the page -> file with its base64 text.
        maps: which label maps the viewer has: "reference", "prediction".
        deviation: whether some predicted surface has distances to a reference surface.
        problems: what is missing and why, as sentences.
    """

    index: int
    blobs: Mapping[str, Path]
    maps: tuple[str, ...]
    deviation: bool
    problems: tuple[str, ...]


def make_views(job: ViewJob) -> Views:
    """Read a case and write its blobs; files that are gone or damaged since the evaluation become problems."""
    arrays, problems = _read(job)
    if arrays is None:
        return Views(job.index, {}, (), False, tuple(problems))
    figure = pictures.case_figure(
        arrays.image, arrays.reference, arrays.prediction, arrays.affine,
        title=str(job.entry["case"]), score=score_from_dict(job.entry),
    )  # fmt: skip
    blobs = {"picture": encode.picture_bytes(_pixels(figure))}
    maps = {"reference": arrays.reference, "prediction": arrays.prediction}
    maps = {name: array for name, array in maps.items() if array is not None}
    deviation = False
    if job.viewer:
        image = arrays.image
        if image is None:
            image = np.broadcast_to(np.int16(AIR_HU), arrays.prediction.shape)
        grid = encode.SmallGrid.around(list(maps.values()), arrays.affine)
        blobs["image"] = encode.image_bytes(grid.mean(image, arrays.affine), grid.affine)
        for name, array in maps.items():
            blobs[name] = encode.nifti_bytes(grid.middle(array, arrays.affine), grid.affine)
        meshes = _meshes(arrays, job.entry["kind"])
        blobs["meshes"] = encode.meshes_bytes(meshes)
        deviation = any(mesh.deviation_mm is not None for mesh in meshes["prediction"].values())
    return Views(job.index, _write(job, blobs), tuple(maps), deviation, tuple(problems))


def _read(job: ViewJob) -> tuple[CaseArrays | None, list[str]]:
    entry, problems = dict(job.entry), []
    for key, word in _FILES.items():
        if entry[key] and not (job.base / entry[key]).is_file():
            problems.append(f"The {word} is gone since the evaluation: {entry[key]}.")
            entry[key] = None
    if not entry["prediction"]:
        return None, problems
    if changed := _changed(job):
        # Pictures of the new file beside numbers of the old one would be worse than none.
        problems += [f"The {word} has changed since the evaluation: evaluate again to see it." for word in changed]
        return None, problems
    while True:
        try:
            return read_case(entry, job.base), problems
        except MemoryError:
            return None, [*problems, "Not enough memory to read the case; use fewer processes (-np 1)."]
        except InputError as error:
            problems.append(f"{InputError(error.found, error.cure, error.path)}.")
        except OSError as error:
            problems.append(f"{error.filename}: not readable ({error.strerror}).")
        # The CT is the part that can be done without.
        if not entry["image"]:
            return None, problems
        entry["image"] = None


def _changed(job: ViewJob) -> list[str]:
    """Which of the files that were scored hold something else now."""
    noted_ns = job.evaluation.stat().st_mtime_ns
    then = {name: Contents(**held) for name, held in job.entry["contents"].items()}
    changed = {
        _FILES[name.removesuffix(" data")]: None
        for name, file in job.inputs().items()
        if name in then and not unchanged(file, then[name], noted_ns)
    }
    return list(changed)


def _meshes(arrays: CaseArrays, kind: str) -> dict[str, dict[str, Mesh]]:
    found = {}
    if arrays.reference is not None:
        found["reference"] = vertebra_meshes(arrays.reference, arrays.affine)
        found["prediction"] = deviation_meshes(arrays.prediction, arrays.reference, arrays.affine)
    else:
        found["prediction"] = vertebra_meshes(arrays.prediction, arrays.affine)
    names = {s.value: s.name for s in structures(kind)}
    return {side: {names[label]: mesh for label, mesh in meshes.items()} for side, meshes in found.items()}


def _pixels(figure: object) -> np.ndarray:
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())


def _write(job: ViewJob, blobs: Mapping[str, bytes]) -> dict[str, Path]:
    written = {}
    for name, content in blobs.items():
        blob = f"{name}-{job.index}"
        written[blob] = job.folder / blob
        with atomic_path(written[blob]) as temporary:
            temporary.write_bytes(base64.b64encode(content))
    return written


def view_store(folder: Path) -> Store:
    """Where the views of a page's cases wait for it."""
    return Store(folder / "cases", encode=_encode, decode=partial(_decode, folder), complete=_is_there)


def _encode(views: Views) -> dict:
    return {**asdict(views), "blobs": list(views.blobs)}


def _decode(folder: Path, content: dict) -> Views:
    blobs = {name: folder / name for name in content["blobs"]}
    sentences = {key: tuple(content[key]) for key in ("maps", "problems")}
    return Views(**{**content, "blobs": blobs, **sentences})


def _is_there(views: Views) -> bool:
    return all(file.is_file() for file in views.blobs.values())
