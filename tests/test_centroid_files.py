"""Every variant of the VerSe centroid files."""

import json

import nibabel as nib
import numpy as np
import pytest
from verse_tree import AFFINE_RAS, spine_mask, turned, write_voxel_centroids

from nnunet_spine.centroids import measure
from nnunet_spine.errors import InputError
from nnunet_spine.io.centroid_files import read_annotation, read_points


def files_of(tmp_path, codes="LPS", labels=(1, 20, 21)):
    mask, affine = turned(spine_mask(labels), AFFINE_RAS, codes)
    return tmp_path / "a.json", mask, affine, measure(mask, affine)


def assert_points(annotation, centroids, atol=0.2):
    assert set(annotation.points_mm) == set(centroids)
    for label, point in annotation.points_mm.items():
        np.testing.assert_allclose(point, centroids[label].mask_mm, atol=atol)


@pytest.mark.parametrize("codes", ["LPS", "PIR", "RAS"])
def test_subject_based_file(tmp_path, codes):
    path, mask, affine, centroids = files_of(tmp_path, codes)
    write_voxel_centroids(path, mask, affine)
    annotation = read_annotation(path, mask, affine, centroids)
    assert (annotation.frame, annotation.hit_rate) == ("voxel", 1)
    assert_points(annotation, centroids)


def test_direction_other_than_the_image(tmp_path):
    path, mask, affine, centroids = files_of(tmp_path, "LPS")
    write_voxel_centroids(path, *turned(mask, affine, "PIR"))
    assert_points(read_annotation(path, mask, affine, centroids), centroids)


def test_lenient_reading(tmp_path):
    path = tmp_path / "a.json"
    points = [
        {"label": "20", "x": "1", "y": 2, "z": 3.5},
        {"label": 21.0, "X": float("nan"), "Y": 1, "Z": 1},
        {"label": 22.0, "X": 4, "Y": 5, "Z": 6},
        {"label": 22, "X": 9, "Y": 9, "Z": 9},
        {"X": 1, "Y": 1, "Z": 1},
        "remark",
        {"direction": ["P", "I", "R"]},
    ]
    path.write_text(json.dumps(points), encoding="utf-8")
    file = read_points(path)
    codes, found = file.codes, file.points
    assert codes == "PIR"
    assert {label: xyz.tolist() for label, xyz in found.items()} == {20: [1, 2, 3.5], 22: [4, 5, 6]}
    path.write_text(json.dumps({"direction": ["L", "P", "S"], "centroids": points[:1]}), encoding="utf-8")
    file = read_points(path)
    codes, found = file.codes, file.points
    assert (codes, list(found)) == ("LPS", [20])


def write_challenge(path, mask, affine, order):
    """Millimetres from faces, in the axis order of the year: "IPL" (2019) or "PIR" (2020)."""
    there, there_affine = turned(mask, affine, order)
    spacing = nib.affines.voxel_sizes(there_affine)
    content = []
    for label in sorted(set(np.unique(mask).tolist()) - {0}):
        mm = np.argwhere(there == label).mean(0) * spacing
        content.append({"label": label, **dict(zip("XYZ", mm.tolist(), strict=True))})
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize(("order", "frame"), [("IPL", "verse19"), ("PIR", "verse20")])
@pytest.mark.parametrize("codes", ["LPS", "RAS", "PIR", "SRA"])
def test_challenge_files(tmp_path, order, frame, codes):
    path, mask, affine, centroids = files_of(tmp_path, codes)
    write_challenge(path, mask, affine, order)
    annotation = read_annotation(path, mask, affine, centroids)
    assert annotation.frame == frame
    assert_points(annotation, centroids)


def test_file_in_no_known_frame_is_refused(tmp_path):
    path, mask, affine, centroids = files_of(tmp_path)
    path.write_text(json.dumps([{"label": 20, "X": 300, "Y": 300, "Z": 300}]), encoding="utf-8")
    with pytest.raises(InputError, match="fit the mask in no known frame"):
        read_annotation(path, mask, affine, centroids)


@pytest.mark.parametrize("text", ["{", "{}", "3", "[]", '[{"direction": ["L", "P", "S"]}]'])
def test_unreadable_files(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError):
        read_annotation(path, spine_mask(), AFFINE_RAS, {})
