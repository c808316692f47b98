"""The header against itself: sform, qform, voxel size, right angles."""

import nibabel as nib
import numpy as np

from nnunet_spine.geometry import axis_codes, corner_distance_mm, spacing_mm
from nnunet_spine.plausibility.finding import Finding

_SPACING_RATIO = 1.05  # rounding ("0.98" for 0.9766) stays below
_PLACE_MM = 0.2  # single precision in the quaternion of a nearly flipped volume costs up to 0.1 mm
_SHEAR_DEGREES = 0.05


def header_findings(header: nib.Nifti1Header, shape: tuple[int, ...]) -> list[Finding]:
    """Whether the places that a NIfTI header can hold agree; the sform is the one that is used where there is one.

    Args:
        header: as stored.
        shape: of the volume, three axes.

    Returns:
        "header-spacing" (stops) where voxel sizes differ by more than 5 %; else "header-place" where corners lie more
        than 0.2 mm apart, shear aside, which a qform cannot hold; and "shear".
    """
    sform, sform_code = header.get_sform(coded=True)
    if sform is None:
        return []  # one source, or none: nothing to contradict
    findings = [shear] if (shear := shear_finding(sform)) else []
    try:
        qform, qform_code = header.get_qform(coded=True)
    except ValueError:  # of nibabel: no quaternion of length 1
        return [*findings, Finding("header-place", "the qform is no rotation; the sform is used")]
    own, other = spacing_mm(sform), np.abs(np.asarray(header.get_zooms()[:3], float))
    if (other <= 0).any() or not np.isfinite(other).all():
        return findings
    ratio = float(np.max(np.maximum(own / other, other / own)))
    if ratio > _SPACING_RATIO:
        where = "qform and pixdim" if qform_code else "pixdim"
        sentence = f"voxels of {_size(own)} mm by the sform, {_size(other)} mm by {where} (a factor of {ratio:.3g})"
        cure = "find out the true size and write it into both, or remove the wrong form"
        return [*findings, Finding("header-spacing", sentence, True, cure, {"factor": ratio})]
    if qform is not None:
        rigid = header.copy()
        rigid.set_qform(sform, strip_shears=True)
        distance = corner_distance_mm(shape, rigid.get_qform(), qform)
        if distance > _PLACE_MM:
            turn = f", {axis_codes(sform)} by the sform and {axis_codes(qform)} by the qform"
            turn = turn if axis_codes(sform) != axis_codes(qform) else ""
            sentence = f"sform and qform place corners up to {distance:.3g} mm apart{turn}; the sform is used"
            codes = {"sform_code": float(sform_code), "qform_code": float(qform_code)}
            findings.append(Finding("header-place", sentence, False, "", {"distance_mm": distance, **codes}))
    return findings


def shear_finding(affine: np.ndarray) -> Finding | None:
    """Whether the axes of a grid are off the right angle by more than 0.05 degrees, as a tilted gantry leaves them.

    Args:
        affine: 4x4, RAS mm.
    """
    axes = np.asarray(affine, float)[:3, :3] / spacing_mm(affine)
    cosines = np.abs(axes.T @ axes - np.eye(3))
    degrees = float(np.rad2deg(np.arcsin(min(1.0, cosines.max()))))
    if degrees <= _SHEAR_DEGREES:
        return None
    # A length measured as if the angles were right is wrong by at most the singular values of the unit axes.
    stretch = np.linalg.svd(axes, compute_uv=False)
    percent = 100 * float(max(stretch[0] - 1, 1 - stretch[-1]))
    sentence = (
        f"axes {degrees:.2g} degrees off the right angle, as a tilted gantry leaves them; programs that take them for "
        f"right angles err by up to {percent:.2g} % in lengths"
    )
    return Finding("shear", sentence, False, "", {"degrees": degrees, "percent": percent})


def _size(spacing: np.ndarray) -> str:
    return " x ".join(f"{s:.4g}" for s in spacing)
