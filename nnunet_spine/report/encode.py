"""Arrays as compact bytes for the page: pictures, small volumes, meshes."""

import gzip
import io
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import nibabel as nib
import numpy as np
from PIL import Image

from nnunet_spine import geometry
from nnunet_spine.meshes import Mesh

PICTURE_BYTES = 120_000
# Width in pixels and quality, tried in this order until a picture is small enough.
_PICTURE_STEPS = ((1800, 80), (1600, 72), (1400, 64), (1200, 56), (1000, 48), (800, 40))
VOLUME_SPACING_MM = 2.0
VOLUME_VOXELS = 3_000_000
MARGIN_MM = 30.0
RANGE_HU = (-400.0, 1200.0)
MESH_STEP_MM = 0.1


def picture_bytes(rgb: np.ndarray) -> bytes:
    """A picture (height, width, 3 or 4) uint8 as WebP of at most `PICTURE_BYTES`, if its smallest form allows."""
    picture = Image.fromarray(rgb[..., :3])
    for width, quality in _PICTURE_STEPS:
        scale = min(1.0, width / picture.width)
        small = picture.resize(
            (max(1, round(picture.width * scale)), max(1, round(picture.height * scale))), Image.LANCZOS
        )
        out = io.BytesIO()
        small.save(out, "WEBP", quality=quality, method=4)
        if out.tell() <= PICTURE_BYTES:
            break
    return out.getvalue()


@dataclass(frozen=True)
class SmallGrid:
    """A coarse RAS grid around the vertebrae: every `step`-th voxel from `box` of the volume turned to RAS.

    Attributes:
        codes_affine: affine of the whole volume turned to RAS.
        box: start and stop along each axis, (3, 2); lengths are multiples of `step`.
        step: voxels per coarse voxel along each axis, (3,).
    """

    codes_affine: np.ndarray
    box: np.ndarray
    step: np.ndarray

    @classmethod
    def around(cls, maps: Sequence[np.ndarray], affine: np.ndarray) -> "SmallGrid":
        """The finest grid of about `VOLUME_SPACING_MM` or coarser that has at most `VOLUME_VOXELS` voxels.

        Args:
            maps: label maps of one shape; without labels the grid spans the volume.
            affine: voxel index -> RAS mm, 4x4.
        """
        turned = [geometry.reorient(array, affine) for array in maps]
        labelled, ras_affine = np.any([array > 0 for array, _ in turned], axis=0), turned[0][1]
        shape, spacing = np.array(labelled.shape), geometry.spacing_mm(ras_affine)
        found = geometry.bounding_box(labelled)
        low, high = np.zeros(3, int), shape
        if found is not None:
            margin = np.ceil(MARGIN_MM / spacing).astype(int)
            low = np.maximum([side.start for side in found] - margin, 0)
            high = np.minimum([side.stop for side in found] + margin, shape)
        wanted_mm = VOLUME_SPACING_MM
        while True:
            step = np.clip(np.rint(wanted_mm / spacing).astype(int), 1, high - low)
            count = (high - low) // step
            if count.prod() <= VOLUME_VOXELS:
                return cls(ras_affine, np.stack([low, low + count * step], axis=1), step)
            wanted_mm *= 1.15

    @property
    def affine(self) -> np.ndarray:
        """Coarse voxel index -> RAS mm; centres of blocks."""
        affine = self.codes_affine.copy()
        affine[:3, :3] = affine[:3, :3] * self.step
        affine[:3, 3] = geometry.to_world(self.codes_affine, self.box[:, 0] + (self.step - 1) / 2)
        return affine

    def mean(self, array: np.ndarray, affine: np.ndarray) -> np.ndarray:
        """Block means of a volume on the original grid, float32."""
        blocks = self._cut(array, affine).astype(np.float32)
        for axis, n in enumerate(self.step):
            blocks = blocks.reshape(*blocks.shape[:axis], -1, n, *blocks.shape[axis + 1 :]).mean(axis + 1)
        return blocks

    def middle(self, array: np.ndarray, affine: np.ndarray) -> np.ndarray:
        """The middle voxel of each block: for labels."""
        first = self.step // 2
        return self._cut(array, affine)[tuple(slice(a, None, n) for a, n in zip(first, self.step, strict=True))]

    def _cut(self, array: np.ndarray, affine: np.ndarray) -> np.ndarray:
        turned, _ = geometry.reorient(array, affine)
        return turned[tuple(slice(a, b) for a, b in self.box)]


def image_bytes(hu: np.ndarray, affine: np.ndarray) -> bytes:
    """CT as gzip-compressed NIfTI with 256 grey values over `RANGE_HU`; the header scales them back to HU."""
    low, high = RANGE_HU
    step = (high - low) / 255
    grey = np.rint((np.clip(np.nan_to_num(hu, nan=low), low, high) - low) / step).astype(np.uint8)
    return nifti_bytes(grey, affine, slope=step, intercept=low)


def nifti_bytes(array: np.ndarray, affine: np.ndarray, *, slope: float = 1.0, intercept: float = 0.0) -> bytes:
    """A uint8 volume as gzip-compressed NIfTI-1 in one file."""
    header = nib.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape(array.shape)
    header.set_zooms(geometry.spacing_mm(affine))
    header.set_sform(affine, code="scanner")
    header.set_xyzt_units("mm")
    header["scl_slope"], header["scl_inter"] = slope, intercept
    header["magic"], header["vox_offset"] = b"n+1", 352
    return gzip.compress(header.binaryblock + bytes(4) + array.astype(np.uint8).tobytes(order="F"), 9, mtime=0)


def meshes_bytes(maps: Mapping[str, Mapping[str, Mesh]]) -> bytes:
    """Meshes as gzip-compressed bytes that `page/meshes.js` reads.

    A JSON head (its length as four bytes before it) lists the meshes; then come all their numbers as int32: x, y, z of
    the vertices in steps of 0.1 mm around a common centre, vertex numbers of the faces, deviations in steps of 0.1 mm;
    each number less the one before, the lowest bytes of all first, then the second, third and fourth bytes.

    Args:
        maps: "reference" or "prediction" -> level name -> mesh.
    """
    listed = [(name, level, mesh) for name, meshes in maps.items() for level, mesh in meshes.items()]
    points = [mesh.vertices_mm for _, _, mesh in listed]
    centre = np.concatenate([p.mean(0)[None] for p in points]).mean(0) if points else np.zeros(3)
    numbers, heads = [np.zeros(0)], []
    for name, level, mesh in listed:
        compared = mesh.deviation_mm is not None
        sizes = {"vertices": len(mesh.vertices_mm), "faces": len(mesh.faces)}
        heads.append({"map": name, "level": level, **sizes, "deviation": compared})
        numbers += [((mesh.vertices_mm - centre) / MESH_STEP_MM).T.ravel(), mesh.faces.ravel()]
        if compared:
            numbers.append(mesh.deviation_mm / MESH_STEP_MM)
    values = np.rint(np.concatenate(numbers)).astype("<i4")
    deltas = np.diff(values, prepend=np.int32(0)).astype("<i4")
    head = json.dumps({"step_mm": MESH_STEP_MM, "meshes": heads}).encode()
    planes = np.ascontiguousarray(deltas.view(np.uint8).reshape(-1, 4).T)
    return gzip.compress(struct.pack("<I", len(head)) + head + planes.tobytes(), 9, mtime=0)
