"""Heights of bodies: boxes, wedges and hollows whose heights are known, upright and tilted."""

import csv

import numpy as np
import pytest

from nnunet_spine import geometry
from nnunet_spine.anatomy import BY_NAME
from nnunet_spine.cli import main
from nnunet_spine.heights import body_heights
from nnunet_spine.io.nifti import write_nifti
from nnunet_spine.pictures.heights import heights_figure

NAMES = ("L1", "L2", "L3")


def turn(degrees, axis):
    a, b = [k for k in range(3) if k != axis]
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    out = np.eye(3)
    out[a, a], out[a, b], out[b, a], out[b, b] = c, -s, s, c
    return out


def column(front_mm, rear_mm, rotation=None, *, arch=True, hollow_mm=0.0, affine=None, table="nnunet_id"):
    """Bodies 40 wide, 30 deep, 35 mm apart; heights grow linearly from rear to front; with an arch behind a canal."""
    rotation = np.eye(3) if rotation is None else rotation
    affine = np.diag([1.0, 1.0, 1.0, 1.0]) if affine is None else affine
    index = np.stack(np.meshgrid(*map(np.arange, (100, 110, 150)), indexing="ij"), -1)
    centre = geometry.to_world(affine, np.array([49.5, 59.5, 74.5]))
    x, y, z = np.moveaxis((geometry.to_world(affine, index) - centre) @ rotation, -1, 0)  # own axes: rotation.T @ world
    labels = np.zeros(index.shape[:3], np.uint8)
    for name, middle in zip(NAMES, (35, 0, -35), strict=True):
        half = (rear_mm + (front_mm - rear_mm) * (y + 15) / 30) / 2 - hollow_mm / 2 * (np.abs(y) < 5)
        body = (np.abs(x) < 20) & (np.abs(y) < 15) & (np.abs(z - middle) < half)
        behind = (np.abs(x) < 5) & (y > -48) & (y < -33) & (np.abs(z - middle + 4) < 9)
        labels[body | (behind & arch)] = getattr(BY_NAME[name], table)
    return labels, affine


def measured(*args, **kwargs):
    labels, affine = column(*args, **kwargs)
    found = body_heights(labels, affine)
    assert list(found) == list(NAMES)
    return [(h.anterior_mm, h.middle_mm, h.posterior_mm) for h in found.values()]


def test_boxes_have_their_height_everywhere():
    for heights in measured(24, 24):
        assert heights == pytest.approx((24, 24, 24), abs=0.3)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("arch", [True, False])
def test_tilted_boxes_keep_their_height(axis, arch):
    for heights in measured(24, 24, turn(25, axis), arch=arch):
        assert heights == pytest.approx((24, 24, 24), abs=0.6)


FINE = np.diag([0.7, 0.7, 0.7, 1.0])  # both endplates step at once: heights come in steps of 1.4 mm


def test_wedges_are_lower_in_front():
    # 18 mm at the front wall, 26 at the rear one: the fifths' middles lie at 0.9, 0.5 and 0.1 of the depth
    for heights in measured(18, 26, affine=FINE):
        assert heights == pytest.approx((18.8, 22, 25.2), abs=0.75)


def test_front_is_where_the_arch_is_not():
    # turned by 180 degrees about the long axis the wedge's thin side looks backwards in the world
    for heights in measured(18, 26, turn(180, 2)):
        assert heights == pytest.approx((18.8, 22, 25.2), abs=1.1)


def test_hollow_endplates_lower_the_middle():
    for anterior, middle, posterior in measured(24, 24, hollow_mm=6):
        assert (anterior, middle, posterior) == pytest.approx((24, 18, 24), abs=0.3)


def test_grid_does_not_matter():
    affine = np.array([[0, 0, -1.0, 30], [-0.9, 0, 0, 7], [0, 1.1, 0, 90], [0, 0, 0, 1]])
    for heights in measured(22, 22, affine=affine):
        assert heights == pytest.approx((22, 22, 22), abs=0.6)


def test_body_cut_by_the_volume_has_no_height():
    labels, affine = column(24, 24)
    found = body_heights(labels[:, :, 35:], affine)  # the lowest body ends in the volume's first slice
    assert found["L3"].middle_mm is None and "border" in found["L3"].reason
    assert found["L2"].middle_mm == pytest.approx(24, abs=0.3)


def test_bone_without_neighbours_and_first_two_levels_have_no_height():
    labels, affine = column(24, 24)
    alone = body_heights(np.where(labels == 21, 21, 0).astype(np.uint8), affine)
    assert alone["L2"].middle_mm is None and "neighbour" in alone["L2"].reason
    top = np.zeros(30, np.uint8)
    top[[20, 21, 22]] = 1, 2, 3
    assert list(body_heights(top[labels], affine)) == ["C3"]
    assert body_heights(np.zeros((5, 5, 5), np.uint8), np.eye(4)) == {}


def test_body_without_a_canal_behind_it_has_no_height():
    labels, affine = column(24, 24)
    middle = labels[:, :, 70:80]
    middle[40:60, 10:60] = 21
    found = body_heights(labels, affine)
    assert found["L2"].middle_mm is None and "canal" in found["L2"].reason


def test_command_writes_a_row_per_case_and_level_and_a_picture(tmp_path, capsys):
    for case, height in (("a", 22), ("b", 26)):
        labels, affine = column(height, height, table="verse_id")
        write_nifti(tmp_path / "in" / f"{case}.nii.gz", labels, affine)
    assert (
        main(["heights", "-i", str(tmp_path / "in"), "--labels", "verse", "-o", str(tmp_path / "o"), "-np", "1"]) == 0
    )
    rows = list(csv.DictReader((tmp_path / "o" / "heights.csv").open(encoding="utf-8")))
    assert [(row["case"], row["level"]) for row in rows] == [(case, name) for case in "ab" for name in NAMES]
    assert float(rows[3]["middle_mm"]) == pytest.approx(26, abs=0.3)
    assert (tmp_path / "o" / "heights.png").stat().st_size > 5_000
    assert "6 bodies" in capsys.readouterr().out


def test_figure_has_a_box_per_level_and_place():
    figure = heights_figure({"T12": [(20, 21, 22), (22, 23, 24)], "L1": [(25, 25, 25)]})
    axes = figure.axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["T12\n2", "L1\n1"]
    medians = sorted(line.get_ydata()[0] for line in axes.lines if line.get_gid() == "median")
    assert medians == [21, 22, 23, 25, 25, 25]


def test_masks_without_names_are_refused(tmp_path, capsys):
    labels, affine = column(24, 24)
    write_nifti(tmp_path / "a.nii.gz", (labels > 0).astype(np.uint8), affine)
    assert main(["heights", "-i", str(tmp_path / "a.nii.gz"), "--labels", "spine", "-o", str(tmp_path / "o")]) == 2
    assert "levels" in capsys.readouterr().err
