"""Late fusion on files: segmentations, maps of where the spine is, and references of one case each."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nnunet_spine.errors import InputError
from nnunet_spine.io.masks import read_mask, require_grid, voxels_in
from nnunet_spine.io.nifti import read_nifti, write_nifti
from nnunet_spine.spine_map.fusion import MAP_SUFFIX, FusionParameters, fuse, score_case

_BYTES_PER_VOXEL = 24  # positions of the foreground and the smoothed map


@dataclass(frozen=True)
class FusionCase:
    """One case; can be pickled.

    Attributes:
        case: its name.
        segmentation, attention: its files.
        target: fused segmentation to write, or None.
        reference: to compare with, or None.
        parameters: of the fusion.
        ignore_label: of the reference.
    """

    case: str
    segmentation: Path
    attention: Path
    target: Path | None = None
    reference: Path | None = None
    parameters: FusionParameters = field(default_factory=FusionParameters)
    ignore_label: int | None = None

    def peak_bytes(self) -> float:
        """Memory that fusing takes, at most."""
        return float(_BYTES_PER_VOXEL * voxels_in(self.segmentation))


def find_cases(segmentations: Path, maps: Path) -> list[FusionCase]:
    """Cases with a segmentation, and where their maps are or should be.

    Raises:
        InputError: no such folder, or nothing in it.
    """
    for folder in (segmentations, maps):
        if not folder.is_dir():
            raise InputError("no such folder", "check the path", folder)
    files = sorted(f for f in segmentations.glob("*.nii.gz") if f.name[0] != "." and MAP_SUFFIX not in f.name)
    if not files:
        raise InputError("no segmentations (*.nii.gz)", "check the path", segmentations)
    cases = {file.name.removesuffix(".nii.gz"): file for file in files}
    return [FusionCase(case, file, maps / f"{case}{MAP_SUFFIX}") for case, file in cases.items()]


def fuse_case(job: FusionCase) -> tuple[str, ...]:
    """Write the fused segmentation; returns remarks.

    Raises:
        InputError: a file cannot be used.
        WriteError: the target cannot be written.
    """
    job.target.unlink(missing_ok=True)  # of an earlier run
    mask = read_mask(job.segmentation)
    fused = fuse(mask.labels, mask.affine, *read_nifti(job.attention), job.parameters)
    write_nifti(job.target, fused.segmentation, mask.affine)
    skipped = f"{fused.outside:.0%} of the foreground lies outside the map: left as it is"
    return tuple(filter(None, (mask.repair, skipped if fused.skipped else "")))


def score_fusion(job: FusionCase) -> Sequence[float]:
    """Scores of a case with each of the parameters to choose from; see `spine_map.fusion.score_case`.

    Raises:
        InputError: a file cannot be used, or lies on another grid.
    """
    mask, reference = read_mask(job.segmentation), read_mask(job.reference)
    require_grid(reference, mask.labels.shape, mask.affine)
    attention = read_nifti(job.attention)
    return score_case(mask.labels, mask.affine, *attention, reference.labels, ignore_label=job.ignore_label)
