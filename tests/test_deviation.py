"""Deviation of masks from reference surfaces in files: boxes whose distances are known."""

import csv
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh

import nnunet_spine
from nnunet_spine.cli import main
from nnunet_spine.deviation import choose_frame, signed_distance_mm, surface_deviation, to_ras
from nnunet_spine.errors import InputError
from nnunet_spine.io.nifti import write_nifti
from nnunet_spine.io.surfaces import read_surface
from nnunet_spine.pictures.deviation import INSIDE, MIDDLE, OUTSIDE, deviation_figure

CENTRE = np.array([19.5, 119.5, -20.5])  # of the cube, RAS mm: no axis may be flipped unnoticed
AFFINE = np.array([[1.0, 0, 0, 0], [0, 1, 0, 100], [0, 0, 1, -40], [0, 0, 0, 1]])
L3 = 22


def cube_mask(side=20, value=L3):
    mask = np.zeros((40, 40, 40), np.uint8)
    half = side // 2
    mask[20 - half : 20 + half, 20 - half : 20 + half, 20 - half : 20 + half] = value
    return mask


def box(side, centre=CENTRE):
    mesh = trimesh.creation.box(extents=(side,) * 3)
    mesh.apply_translation(centre)
    return mesh


def deviation_from(mesh):
    return surface_deviation(cube_mask() > 0, AFFINE, np.array(mesh.vertices), np.array(mesh.faces))


def test_cube_within_a_larger_cube_lies_inside_by_the_gap():
    found = deviation_from(box(24))
    assert found.mean_mm == pytest.approx(-2, abs=0.05)
    assert found.sd_mm == pytest.approx(0, abs=0.05)
    assert found.mean_absolute_mm == -found.mean_mm
    assert found.hd95_mm == pytest.approx(2, abs=0.1)
    assert np.median(found.mesh.deviation_mm) == pytest.approx(-2, abs=1e-5)


def test_cube_around_a_smaller_cube_lies_outside():
    found = deviation_from(box(16))
    assert found.mesh.deviation_mm.min() == pytest.approx(2, abs=1e-4)
    assert 2 < found.mean_mm < 2.2  # corners are farther


def test_shifted_cube_has_both_signs():
    found = deviation_from(box(20, CENTRE + np.array((3, 0, 0))))
    x = found.mesh.vertices_mm[:, 0]
    left, right = x < CENTRE[0] - 9.9, x > CENTRE[0] + 9.9
    assert np.median(found.mesh.deviation_mm[left]) == pytest.approx(3, abs=1e-4)  # outside on one side
    assert found.mesh.deviation_mm[right].min() == pytest.approx(-3, abs=1e-4)  # and inside on the other
    assert found.max_mm == pytest.approx(3, abs=0.3)


def test_points_beside_faces_edges_and_corners_of_a_box():
    mesh = box(2, (0, 0, 0))
    points = np.array([[0, 0, 4], [0, 4, 5], [4, 5, 1 + 12], [0, 0, 0.5], [0.9, 0.9, 0.9], [1, 0, 0]], float)
    expected = [3, 5, 13, -0.5, -0.1, 0]
    assert signed_distance_mm(points, mesh.vertices, mesh.faces) == pytest.approx(expected)


def test_points_in_a_notch_are_outside():
    # an L of three unit cubes: the notch's edge is concave, and there the nearest face alone would mislead
    profile = np.array([[0, 0], [2, 0], [2, 1], [1, 1], [1, 2], [0, 2]], float)
    low, high = (np.column_stack([profile, np.full(6, z)]) for z in (0.0, 1.0))
    cap = np.array([[0, 1, 3], [1, 2, 3], [0, 3, 5], [3, 4, 5]])
    sides = [[(i, (i + 1) % 6, 6 + i), ((i + 1) % 6, 6 + (i + 1) % 6, 6 + i)] for i in range(6)]
    faces = np.concatenate([cap[:, ::-1], cap + 6, np.array(sides).reshape(-1, 3)])
    points = np.array([[1.2, 1.3, 0.5], [0.9, 0.8, 0.5], [1.1, 1.1, 0.9]])
    expected = [0.2, -np.hypot(0.1, 0.2), 0.1]
    assert signed_distance_mm(points, np.concatenate([low, high]), faces) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("kind", "name"), [("stl", "a.stl"), ("stl_ascii", "a.stl"), ("ply", "a.PLY"), ("ply", "b.stl")]
)
def test_surfaces_are_read_by_their_content(tmp_path, kind, name):
    (tmp_path / name).write_bytes(_export(box(24), kind))
    surface = read_surface(tmp_path / name)
    assert surface.vertices.shape == (8, 3) and surface.faces.shape == (12, 3)
    assert surface.open_edges == 0 and surface.declared_frame == ""


def test_text_ply_and_its_declared_frame_are_read(tmp_path):
    content = box(24).export(file_type="ply", encoding="ascii")
    content = content.encode() if isinstance(content, str) else content
    (tmp_path / "a.ply").write_bytes(content.replace(b"\n", b"\ncomment 3D Slicer output. SPACE=LPS\n", 1))
    surface = read_surface(tmp_path / "a.ply")
    assert len(surface.faces) == 12 and surface.declared_frame == "lps"


def test_declared_frame_of_binary_stl_is_read(tmp_path):
    content = box(24).export(file_type="stl")
    (tmp_path / "a.stl").write_bytes(b"3D Slicer output. SPACE=RAS".ljust(80) + content[80:])
    assert read_surface(tmp_path / "a.stl").declared_frame == "ras"


def test_faces_that_look_inwards_are_turned(tmp_path):
    mesh = box(24)
    mesh.invert()
    mesh.export(tmp_path / "a.stl")
    surface = read_surface(tmp_path / "a.stl")
    assert signed_distance_mm(CENTRE[None], surface.vertices, surface.faces) == pytest.approx([-12])


def test_cavity_within_the_reference_is_not_outside_of_bone(tmp_path):
    cavity = box(10)
    cavity.invert()
    for name, turned in (("right", False), ("inside-out", True)):
        mesh = trimesh.util.concatenate([box(24), cavity])
        if turned:
            mesh.invert()
        mesh.export(tmp_path / f"{name}.ply")
        surface = read_surface(tmp_path / f"{name}.ply")
        between = CENTRE + np.array([[7, 0, 0], [11, 0, 0], [13, 0, 0]])
        assert signed_distance_mm(between, surface.vertices, surface.faces) == pytest.approx([-2, -1, 1])


def test_open_surface_is_told(tmp_path):
    mesh = box(24)
    mesh.update_faces(np.arange(12) != 0)
    mesh.export(tmp_path / "a.ply")
    assert read_surface(tmp_path / "a.ply").open_edges == 3


@pytest.mark.parametrize(
    "content", [b"", b"solid nothing\nendsolid\n", b"not a surface", b"ply\nformat ascii 1.0\n", "cut"]
)
def test_what_is_no_surface_is_refused_in_one_line(tmp_path, content):
    content = box(24).export(file_type="stl")[:-20] if content == "cut" else content
    (tmp_path / "a.stl").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.stl"):
        read_surface(tmp_path / "a.stl")


@pytest.mark.parametrize("frame", ["ras", "lps"])
def test_frame_is_the_one_in_which_the_surface_lies_on_the_prediction(frame):
    mesh, points = box(22), np.array(box(20).subdivide().subdivide().vertices)
    assert choose_frame(points, to_ras(np.array(mesh.vertices), frame), mesh.faces)[0] == frame


def test_surface_of_neither_frame_is_refused():
    points = np.array(box(20).subdivide().vertices)
    for mesh in (box(20, CENTRE + np.array((0, 0, 90))), box(0.02, CENTRE / 1000)):  # elsewhere, and in metres
        with pytest.raises(InputError, match="neither in RAS nor in LPS"):
            choose_frame(points, np.array(mesh.vertices), mesh.faces)


def test_surface_that_fits_both_frames_needs_a_word():
    mesh, points = box(20, (0, 0, 0)), np.array(box(20, (0, 0, 0)).subdivide().vertices)
    with pytest.raises(InputError, match="--frame"):
        choose_frame(points, np.array(mesh.vertices), mesh.faces)
    assert choose_frame(points, np.array(mesh.vertices), mesh.faces, declared="lps")[0] == "lps"


def test_colours_are_the_reports():
    page = (Path(nnunet_spine.__file__).parent / "report" / "page" / "renderer.js").read_text(encoding="utf-8")
    diverging = page[page.index("vec3 diverging") : page.index("void main", page.index("vec3 diverging"))]
    triples = re.findall(r"vec3\(([\d.]+), ([\d.]+), ([\d.]+)\)", diverging)
    assert [tuple(map(float, t)) for t in triples] == [MIDDLE, INSIDE, OUTSIDE]


def test_picture_is_blue_inside_and_red_outside():
    for side, channel in ((28, 2), (12, 0)):
        figure = deviation_figure(deviation_from(box(side)).mesh)
        front = figure.axes[0].collections[0].get_facecolors()[:, :3]
        assert (front.argmax(1) == channel).all()


def test_command_writes_table_and_picture(tmp_path, capsys):
    mask = cube_mask()
    mask[2:5, 2:5, 2:5] = 21
    write_nifti(tmp_path / "in" / "a.nii.gz", mask, AFFINE)
    box(24).apply_transform(np.diag([-1.0, -1, 1, 1])).export(tmp_path / "scan.stl")
    command = ["deviation", "-p", str(tmp_path / "in" / "a.nii.gz"), "-r", str(tmp_path / "scan.stl"), "--level", "l3"]
    assert main([*command, "--labels", "nnunet", "-o", str(tmp_path / "out"), "-np", "1"]) == 0
    (row,) = csv.DictReader((tmp_path / "out" / "deviation.csv").open(encoding="utf-8"))
    assert (row["case"], row["level"], row["frame"]) == ("a_L3", "L3", "lps")
    assert float(row["mean_mm"]) == pytest.approx(-2, abs=0.05)
    assert (tmp_path / "out" / "a_L3.png").stat().st_size > 10_000
    assert "a_L3: -2.0" in capsys.readouterr().out


def test_folder_of_surfaces_is_paired_by_name_and_one_failure_does_not_stop_the_others(tmp_path, capsys):
    write_nifti(tmp_path / "in" / "a.nii.gz", cube_mask(), AFFINE)
    (tmp_path / "ref").mkdir()
    box(24).export(tmp_path / "ref" / "a_L3.ply")
    box(24).export(tmp_path / "ref" / "a_L4.ply")
    command = ["deviation", "-p", str(tmp_path / "in"), "-r", str(tmp_path / "ref"), "--labels", "nnunet", "-np", "1"]
    assert main([*command, "-o", str(tmp_path / "out")]) == 1
    assert "no L4 in it, but L3" in capsys.readouterr().err
    assert [row["case"] for row in csv.DictReader((tmp_path / "out" / "deviation.csv").open(encoding="utf-8"))] == [
        "a_L3"
    ]
    assert main([*command, "--level", "L3", "-o", str(tmp_path / "out2")]) == 0


def test_said_frame_in_which_the_surface_lies_elsewhere_is_refused(tmp_path, capsys):
    write_nifti(tmp_path / "a.nii.gz", cube_mask(value=1), AFFINE)
    box(24).export(tmp_path / "s.stl")
    command = ["deviation", "-p", str(tmp_path / "a.nii.gz"), "-r", str(tmp_path / "s.stl"), "-o", str(tmp_path / "o")]
    assert main([*command, "--labels", "instances", "--frame", "lps", "-np", "1"]) == 1
    assert "Give --frame ras or auto" in capsys.readouterr().err
    assert main([*command, "--labels", "instances", "--frame", "ras", "-np", "1"]) == 0


def _export(mesh, kind):
    content = mesh.export(file_type=kind)
    return content.encode() if isinstance(content, str) else content


@pytest.mark.parametrize("missing", ["trimesh", "rtree", "networkx"])
def test_what_is_not_installed_is_named_with_its_cure(tmp_path, monkeypatch, capsys, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    assert main(["deviation", "-p", str(tmp_path), "-r", str(tmp_path), "-o", str(tmp_path / "o")]) == 2
    assert f"{missing}, which is not installed. Run pip install 'nnunet-spine[surfaces]'" in capsys.readouterr().err
