import json
import os
from collections import Counter

import nibabel as nib
import numpy as np
import pytest

from nnunet_spine.anatomy import BY_NAME, BY_VERSE_ID
from nnunet_spine.cli import main
from nnunet_spine.errors import InputError
from nnunet_spine.jobs import HERE, Processes, Run, Shard
from nnunet_spine.phantom import TreeOptions, write_tree
from nnunet_spine.phantom.tree import plan_cases, write_case

SMALL = TreeOptions(seed=5, spacing_mm=(3.0, 3.0, 3.0), view="crop")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("phantoms") / "verse"
    return root, write_tree(root, 10, SMALL).cases


def contents(root):
    return {p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file() and p.name != "phantom.json"}


def test_the_tree_is_laid_out_like_verse(tree):
    root, cases = tree
    assert sorted(p.name for p in root.iterdir()) == [
        "dataset-01training",
        "dataset-02validation",
        "dataset-03test",
        "labels.json",
        "labels_itksnap.txt",
        "labels_slicer.ctbl",
        "phantom.json",
    ]
    images = sorted(p.name for p in root.glob("*/rawdata/sub-*/*_ct.nii.gz"))
    masks = sorted(p.name for p in root.glob("*/derivatives/sub-*/*_seg-vert_msk.nii.gz"))
    centroids = sorted(p.name for p in root.glob("*/derivatives/sub-*/*_seg-subreg_ctd.json"))
    stems = [name.removesuffix("_ct.nii.gz") for name in images]
    assert len(stems) == len(cases) == 10
    assert [name.removesuffix("_seg-vert_msk.nii.gz") for name in masks] == stems
    assert [name.removesuffix("_seg-subreg_ctd.json") for name in centroids] == stems
    assert all(path.is_file() and path.name.startswith(case.stem) for case in cases for path in case.files(root))


def test_every_case_reads_back_with_centroids_on_their_labels(tree):
    root, cases = tree
    for case in cases:
        image, mask, centroids = case.files(root)
        ct, labels = nib.load(image), nib.load(mask)
        assert ct.get_data_dtype() == np.int16 and labels.get_data_dtype() == np.uint8
        np.testing.assert_array_equal(ct.affine, labels.affine)
        head, *points = json.loads(centroids.read_text(encoding="utf-8"))
        assert head == {"direction": list(nib.aff2axcodes(ct.affine))}
        voxels = np.asarray(labels.dataobj)
        assert {p["label"] for p in points} == set(np.unique(voxels).tolist()) - {0} and points
        for point in points:
            xyz = [point[k] for k in "XYZ"]
            assert xyz == [round(v, 1) for v in xyz]
            if point["label"] != 1:
                assert voxels[tuple(round(v) for v in xyz)] == point["label"], BY_VERSE_ID[point["label"]].name


def test_a_patient_has_two_series_in_one_split(tree):
    _, cases = tree
    series = [case for case in cases if "_split-" in case.stem]
    assert len(series) == 2
    assert len({case.subject for case in series}) == len({case.split for case in series}) == 1
    assert len({case.stem for case in series}) == 2


def test_splits_are_60_20_20_and_cases_do_not_depend_on_their_number():
    cases = plan_cases(40, TreeOptions(seed=7))
    assert Counter(case.split for case in cases) == {
        "dataset-01training": 24,
        "dataset-02validation": 8,
        "dataset-03test": 8,
    }
    assert plan_cases(13, TreeOptions(seed=7)) == cases[:13]
    assert len({case.seed for case in cases}) == len({case.subject for case in cases})


def test_forty_cases_have_every_variant_and_kind_of_name():
    cases = plan_cases(40, TreeOptions(seed=7))
    assert {case.options.last_thoracic for case in cases} == {None, 11, 13}
    assert {case.options.last_lumbar for case in cases} == {None, 4, 6}
    directions = {case.stem.partition("_dir-")[2] for case in cases}
    assert directions == {"", "iso", "ax", "sag"}
    assert len({case.options.spacing_mm for case in cases}) > 30


def test_lumbar_views():
    for case in plan_cases(10, TreeOptions(view="lumbar")):
        assert case.options.levels_in_view == (5, 7)
        assert case.options.lowest_levels


def test_plain_trees_hold_healthy_upright_whole_spines():
    for case in plan_cases(30, TreeOptions(plain=True, view="whole")):
        options = case.options
        assert options.last_lumbar is None and not options.random_orientation and options.levels_in_view is None
        assert all(value == 0 for name, value in vars(options).items() if name.endswith("_probability"))


def test_an_interrupted_run_is_continued_with_the_same_result(tree, tmp_path):
    root, cases = tree
    write_tree(tmp_path, 2, SMALL)
    image, _, centroids = cases[1].files(tmp_path)
    centroids.unlink()
    image.write_bytes(b"half")
    left_over = image.parent / ".partial-x.nii.gz"
    left_over.write_bytes(b"left over")
    os.utime(left_over, (1e9, 1e9))
    kept = cases[0].files(tmp_path)[0].stat().st_mtime_ns
    steps = []

    def progress(items, total):
        for item in items:
            steps.append((item.case, total))
            yield item

    assert write_tree(tmp_path, 3, SMALL, Run(progress=progress)).cases == tuple(cases[:3])
    assert steps == [(cases[i].stem, 3) for i in (0, 1, 2)]
    assert cases[0].files(tmp_path)[0].stat().st_mtime_ns == kept
    whole = contents(root)
    for name, found in contents(tmp_path).items():
        if name.name.endswith(".json"):
            assert found == whole[name]
    for path in (*cases[1].files(tmp_path)[:2], *cases[2].files(tmp_path)[:2]):
        expected = nib.load(root / path.relative_to(tmp_path))
        np.testing.assert_array_equal(np.asarray(nib.load(path).dataobj), np.asarray(expected.dataobj))
    assert not list(tmp_path.rglob(".partial-*"))


def test_workers_and_parts_write_the_same(tree, tmp_path):
    """Part 0 in worker processes, the same part once more, part 1 in this one: byte for byte one tree."""
    root, cases = tree
    for part, executor in ((0, Processes(2)), (0, HERE)):
        done = write_tree(tmp_path, 4, SMALL, Run(executor, Shard(part, 2)))
        assert (done.cases, done.missing, done.failures) == ((cases[0], cases[2]), (cases[1], cases[3]), ())
    assert write_tree(tmp_path, 4, SMALL, Run(shard=Shard(1, 2))).cases == tuple(cases[:4])
    for case in cases[:4]:
        for here, there in zip(case.files(tmp_path), case.files(root), strict=True):
            assert here.read_bytes() == there.read_bytes(), here.name


def test_a_phantom_that_fails_leaves_the_others(tmp_path, monkeypatch, capsys):
    from nnunet_spine.phantom import tree as module

    original = module.draw_phantom

    def draw(seed, options, scan):
        if seed == plan_cases(2, SMALL)[0].seed:
            raise ZeroDivisionError("no luck")
        return original(seed, options, scan=scan)

    monkeypatch.setattr(module, "draw_phantom", draw)
    arguments = ["-o", str(tmp_path), "-n", "2", "--seed", "5", "--spacing", "3", "--view", "crop", "-np", "1"]
    assert main(["phantom", *arguments]) == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "ZeroDivisionError: no luck" in captured.err
    assert "1 of 2 are missing" in captured.out


def test_memory_that_a_phantom_takes_grows_with_its_voxels():
    (fine,), (coarse,) = (plan_cases(1, TreeOptions(spacing_mm=(mm,) * 3)) for mm in (1.0, 2.0))
    assert fine.peak_bytes() == pytest.approx(8 * coarse.peak_bytes())


def test_foreign_or_different_folders_are_refused(tree, tmp_path):
    root, _ = tree
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="not empty"):
        write_tree(tmp_path, 1, SMALL)
    with pytest.raises(InputError, match="seed 5, not 6"):
        write_tree(root, 10, TreeOptions(seed=6, spacing_mm=(3.0, 3.0, 3.0), view="crop"))
    with pytest.raises(InputError, match="10 phantoms; 4"):
        write_tree(root, 4, SMALL)
    with pytest.raises(InputError, match="is a file"):
        write_tree(tmp_path / "notes.txt", 1, SMALL)


def test_a_case_without_a_whole_vertebra_is_drawn_again_uncropped(tmp_path, monkeypatch):
    from nnunet_spine.phantom import tree as module

    drawn = []

    def draw(seed, options, scan):
        drawn.append(options.z_crop_probability)
        phantom = original(seed, options, scan=scan)
        if len(drawn) == 1:
            phantom.body_centres_mm.clear()
        return phantom

    original = module.draw_phantom
    monkeypatch.setattr(module, "draw_phantom", draw)
    case = plan_cases(1, SMALL)[0]
    write_case(tmp_path, case)
    assert drawn == [0.15, 0.0]
    assert len(json.loads(case.files(tmp_path)[2].read_text(encoding="utf-8"))) > 1


def test_the_command_writes_a_tree(tmp_path, capsys):
    arguments = [
        "phantom",
        "-o",
        str(tmp_path / "v"),
        "-n",
        "2",
        "--seed",
        "1",
        "--spacing",
        "3",
        "--plain",
        "-np",
        "1",
    ]
    assert main([*arguments, "--view", "crop", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    image = nib.load(next((tmp_path / "v").glob("*/rawdata/*/*_ct.nii.gz")))
    assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
    np.testing.assert_allclose(image.header.get_zooms(), 3)
    assert main([*arguments[:3], "-n", "0"]) == 2
    assert main([*arguments[:3], "-num_parts", "2", "-part_id", "2"]) == 2
    assert main([*arguments[:3], "--shape", "32", "32", "32", "--view", "whole"]) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("spacing", ["9", "0.1", "2 1", "1 2 3 4", "0"])
def test_voxel_sizes_that_cannot_be_drawn_are_refused_in_the_words_of_the_command(tmp_path, capsys, spacing):
    assert main(["phantom", "-o", str(tmp_path / "v"), "--spacing", *spacing.split()]) == 2
    shown = " ".join(spacing.split() * (3 if " " not in spacing else 1))
    assert f"voxel size {shown} mm. Give one number, two (from, to) or three" in capsys.readouterr().err
    assert not (tmp_path / "v").exists()


def test_a_range_of_voxel_sizes(tmp_path):
    cases = plan_cases(30, TreeOptions(spacing_mm=(2.0, 2.5)))
    drawn = {s for case in cases for s in case.options.spacing_mm}
    assert len(drawn) > 10
    assert min(drawn) >= 2.0 and max(drawn) <= 2.5


def test_labels_of_a_variant_reach_the_files(tmp_path):
    options = TreeOptions(seed=1, spacing_mm=(3.0, 3.0, 3.0))
    case = next(c for c in plan_cases(20, options) if c.options.last_thoracic == 13)
    write_case(tmp_path, case)
    labels = [p["label"] for p in json.loads(case.files(tmp_path)[2].read_text(encoding="utf-8"))[1:]]
    place = labels.index(BY_NAME["T13"].verse_id)
    assert labels[place - 1 : place + 2] == [19, 28, 20]
