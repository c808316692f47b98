"""What every converter has to do, and what the writer does with scans of any kind."""

import argparse
import importlib
import json
import pickle
import runpy
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

import numpy as np
import pytest
from verse_tree import AFFINE_RAS, digests, save, spine_ct, spine_mask, turned

from nnunet_spine.anatomy import NAMES
from nnunet_spine.commands.convert import main
from nnunet_spine.dataset_conversion import converters
from nnunet_spine.dataset_conversion.case import LABEL_SETS, PARTS, Converter, Found, Scan
from nnunet_spine.dataset_conversion.fingerprint import plain
from nnunet_spine.dataset_conversion.images import ChangedImage, ItkFile, NiftiFile
from nnunet_spine.dataset_conversion.labels import LabelFile, StructureFiles
from nnunet_spine.dataset_conversion.manifest import read_manifest
from nnunet_spine.dataset_conversion.sources import Landmarks
from nnunet_spine.errors import InputError
from nnunet_spine.io.files import read_json
from nnunet_spine.io.nifti import read_nifti

EXAMPLE = Path(__file__).parents[1] / "examples" / "tiny_converter.py"


@pytest.fixture(params=[*converters()])
def listed(request, tmp_path):
    """A listed converter and a small source of its kind, which `tests/NAME_tree.py` writes."""
    importlib.import_module(f"{request.param.replace('-', '_')}_tree").example(tmp_path / "source")
    return converters()[request.param], tmp_path / "source"


class TestEveryConverter:
    def test_says_what_it_is(self, listed):
        converter, _ = listed
        for text in (converter.name, converter.title, converter.dataset_name, converter.licence, converter.reference):
            assert isinstance(text, str)
            assert text
        assert converter.gives <= set(PARTS)
        assert converter.gives
        assert set(converter.label_sets) <= set(LABEL_SETS)

    def test_finds_scans_with_no_other_parts_than_it_says(self, listed):
        converter, source = listed
        found = converter.find([source])
        assert len(found.scans) > 1
        for scan in found.scans:
            given = {part for part in PARTS if getattr(scan, part) is not None}
            assert given
            assert given <= converter.gives
            assert scan.files
            assert all(path.is_file() for path in scan.files)
            assert scan.case.replace("-", "").replace("_", "").isalnum()
        assert len({scan.case for scan in found.scans}) == len(found.scans)

    def test_finds_the_same_again_and_can_be_sent_to_workers(self, listed):
        converter, source = listed
        scans = converter.find([source]).scans
        assert [plain(s) for s in converter.find([source]).scans] == [plain(s) for s in scans]
        assert pickle.loads(pickle.dumps(scans)) == scans

    def test_reports_files_that_fit_nothing(self, listed):
        converter, source = listed
        save(source / "training" / "notes (1) of nobody.nii.gz", spine_mask())
        assert [path.name for path in converter.find([source]).left_out] == ["notes (1) of nobody.nii.gz"]

    def test_refuses_what_is_not_there(self, listed, tmp_path):
        (tmp_path / "empty").mkdir()
        with pytest.raises(InputError, match="no such folder"):
            listed[0].find([tmp_path / "nothing"])
        with pytest.raises(InputError, match=r"no .* found"):
            listed[0].find([tmp_path / "empty"])

    def test_its_options_have_the_defaults_of_its_function(self, listed):
        converter, source = listed
        parser = argparse.ArgumentParser()
        converter.add_arguments(parser)
        assert plain(converter.find([source], **vars(parser.parse_args([])))) == plain(converter.find([source]))

    def test_dataset_is_made_and_its_sources_are_untouched(self, listed, tmp_path, capsys):
        converter, source = listed
        before = digests(source, times=True)
        assert main(converter, [str(source), "-d", "700", "-o", str(tmp_path / "raw"), "-np", "1"]) == 0
        assert digests(source, times=True) == before
        dataset = tmp_path / "raw" / f"Dataset700_{converter.dataset_name}"
        for row in read_manifest(dataset / "manifest.csv"):
            assert set(row["labels_after"].split()) <= set(NAMES)
        assert main(converter, [str(source), "-d", "700", "-o", str(tmp_path / "raw"), "-np", "1"]) == 0
        assert "complete, nothing to do" in capsys.readouterr().out


# What data sets to come need, on scans made here.


def converter_of(*scans: Scan, **about) -> Converter:
    about = {"name": "made", "title": "Made", "dataset_name": "Made", "licence": "-", "reference": "-"} | about
    return Converter(find=lambda sources: Found(scans), **about)


def convert(tmp_path, converter, *options):
    argv = [str(tmp_path), "-d", "7", "-o", str(tmp_path / "raw"), "-np", "1", *options]
    return main(converter, argv), tmp_path / "raw" / "Dataset007_Made"


def scan_of(folder, case, **parts) -> Scan:
    image = save(folder / f"{case}.nii.gz", spine_ct(spine_mask()))
    mask = save(folder / f"{case}_mask.nii.gz", spine_mask())
    return replace(Scan(case, case, "training", NiftiFile(image), LabelFile(mask), cohort="made"), **parts)


@dataclass(frozen=True)
class Points:
    """Landmarks in the world, in a file with a line `name x y z` each."""

    path: Path

    @property
    def files(self):
        return (self.path,)

    def _points(self):
        rows = [line.split() for line in self.path.read_text(encoding="utf-8").splitlines()]
        return {name: tuple(map(float, xyz)) for name, *xyz in rows}

    def names(self):
        return frozenset(self._points())

    def read(self, grid, mask, measured):
        return Landmarks(self._points(), "world")


def points_file(path, **points):
    path.write_text("\n".join(f"{name} {x} {y} {z}" for name, (x, y, z) in points.items()), encoding="utf-8")
    return Points(path)


class DamagedPoints(Points):
    def names(self):
        raise InputError("no numbers", "restore it", self.path)


def test_landmarks_without_masks_serve_prediction_and_evaluation(tmp_path, capsys):
    points = {"T12": (-10.0, 2.0, 160.0), "L1": (-10.0, 1.0, 140.0), "S1": (-9.0, 0.0, 20.0)}
    scans = [
        scan_of(tmp_path, case, mask=None, landmarks=points_file(tmp_path / f"{case}.txt", **points)) for case in "ab"
    ]
    code, dataset = convert(tmp_path, converter_of(*scans, gives=frozenset({"image", "landmarks"})))
    assert code == 0
    assert "no masks, so no training cases" in capsys.readouterr().out
    assert sorted(p.name for p in dataset.iterdir() if p.is_dir()) == ["centroidsTs", "imagesTs"]
    content = read_json(dataset / "centroidsTs" / "a.json")
    assert [(v["name"], v["annotated_mm"]) for v in content["vertebrae"]] == [
        ("T12", [-10.0, 2.0, 160.0]), ("L1", [-10.0, 1.0, 140.0]),
    ]  # fmt: skip
    assert content["others"] == [{"name": "S1", "annotated_mm": [-9.0, 0.0, 20.0]}]
    assert [v["body_centre_mm"] for v in content["vertebrae"]] == [v["annotated_mm"] for v in content["vertebrae"]]
    row = read_manifest(dataset / "manifest.csv")[0]
    assert (row["labels_after"], row["mask"], row["mask_stored"]) == ("T12 L1", "", "")
    assert "no mask: for prediction and evaluation only" in row["flags"]


def test_landmarks_alone_are_a_reference_for_evaluation(tmp_path):
    """The centroid file of a scan without a mask goes into `evaluate` as it was written."""
    from nnunet_spine.cli import main as command

    measured = {"L1": (20, (-8.0, 8.0, 168.0)), "L2": (21, (-8.0, 8.0, 152.0))}
    points = points_file(tmp_path / "a.txt", **{name: xyz for name, (_, xyz) in measured.items()})
    scan = scan_of(tmp_path, "a", mask=None, landmarks=points)
    _, dataset = convert(tmp_path, converter_of(scan, gives=frozenset({"image", "landmarks"})))
    save(tmp_path / "pred" / "a.nii.gz", spine_mask((20, 21)))
    argv = ["evaluate", "-p", tmp_path / "pred", "-g", dataset / "centroidsTs", "-o", tmp_path / "ev", "-np", "1"]
    assert command([str(a) for a in (*argv, "--centre", "body", "--quiet")]) == 0
    (case,) = read_json(tmp_path / "ev" / "evaluation.json")["cases"]
    assert case["n_reference"] == 2


def test_options_on_masks_are_not_offered_where_there_are_none(tmp_path):
    converter = converter_of(scan_of(tmp_path, "a", mask=None), gives=frozenset({"image"}))
    with pytest.raises(SystemExit):
        convert(tmp_path, converter, "--min-volume", "3")


def test_some_scans_without_mask_or_image(tmp_path):
    scans = [scan_of(tmp_path, "a"), scan_of(tmp_path, "b", mask=None), scan_of(tmp_path, "c", image=None)]
    code, dataset = convert(tmp_path, converter_of(*scans))
    assert code == 0
    rows = {row["case"]: row for row in read_manifest(dataset / "manifest.csv")}
    assert [rows[case]["split"] for case in "abc"] == ["training", "test", "test"]
    assert read_json(dataset / "dataset.json")["numTraining"] == 1
    assert [p.name for p in (dataset / "imagesTs").iterdir()] == ["b_0000.nii.gz"]
    assert [p.name for p in (dataset / "labelsTs").iterdir()] == ["c.nii.gz"]
    assert "no image: for prediction and evaluation only" in rows["c"]["flags"]
    assert rows["c"]["shape"] == "24x20x40"


def test_damaged_landmarks_are_a_bad_case_where_there_is_nothing_else(tmp_path, capsys):
    (tmp_path / "b.txt").write_text("L1 zero zero zero", encoding="utf-8")
    damaged = DamagedPoints(tmp_path / "b.txt")
    scans = scan_of(tmp_path, "a"), scan_of(tmp_path, "b", mask=None, landmarks=damaged)
    assert convert(tmp_path, converter_of(*scans))[0] == 2
    assert "b.txt: no numbers" in capsys.readouterr().err


def write_itk(path, array, affine=AFFINE_RAS):
    import SimpleITK

    from nnunet_spine.io.itk import set_affine

    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(array.T))
    set_affine(image, affine)
    SimpleITK.WriteImage(image, str(path))
    return path


@pytest.mark.parametrize("ending", ["mhd", "mha", "nrrd", "nhdr"])
def test_metaimage_and_nrrd_are_written_as_nifti_in_their_place(tmp_path, ending):
    ct, affine = turned(spine_ct(spine_mask()), AFFINE_RAS, "PIR")
    mask, _ = turned(spine_mask(), AFFINE_RAS, "PIR")
    image = write_itk(tmp_path / f"image.{ending}", ct, affine)
    labels = write_itk(tmp_path / f"mask.{ending}", mask, affine)
    scan = scan_of(tmp_path, "a", image=ItkFile(image), mask=LabelFile(labels))
    # The voxels are part of what the case is made of, wherever they lie.
    apart = {"mhd": ["image.mhd", "image.raw"], "nhdr": ["image.nhdr", "image.raw"]}
    assert [p.name for p in scan.image.files] == apart.get(ending, [f"image.{ending}"])
    assert len(scan.mask.files) == len(scan.image.files)
    code, dataset = convert(tmp_path, converter_of(scan))
    assert code == 0
    for name, array in (("imagesTr/a_0000.nii.gz", ct), ("labelsTr/a.nii.gz", mask)):
        stored, stored_affine = read_nifti(dataset / name)
        np.testing.assert_array_equal(stored, array)
        np.testing.assert_allclose(stored_affine, affine, atol=1e-5)
    assert read_manifest(dataset / "manifest.csv")[0]["image_stored"] == "rewritten"


def test_metaimage_without_its_voxels_is_a_bad_case(tmp_path, capsys):
    image = write_itk(tmp_path / "image.mhd", spine_ct(spine_mask()))
    image.with_suffix(".raw").unlink()
    scans = scan_of(tmp_path, "a", image=ItkFile(image)), scan_of(tmp_path, "b")
    assert convert(tmp_path, converter_of(*scans))[0] == 2
    assert "image.mhd" in capsys.readouterr().err


def from_12_bit(voxels):
    """0..4095 with air at 0."""
    return (voxels - np.int16(1024), "HU = value - 1024: lowest value 0") if voxels.min() >= 0 else (voxels, "")


def test_image_with_other_values_is_rewritten_and_says_so(tmp_path):
    stored = (spine_ct(spine_mask()) + 1024).astype(np.int16)
    shifted = ChangedImage(NiftiFile(save(tmp_path / "shifted.nii.gz", stored)), from_12_bit)
    scans = scan_of(tmp_path, "a", image=shifted), scan_of(tmp_path, "b")
    scans = scans[0], replace(scans[1], image=ChangedImage(scans[1].image, from_12_bit))
    assert convert(tmp_path, converter_of(*scans))[0] == 0
    dataset = tmp_path / "raw" / "Dataset007_Made"
    np.testing.assert_array_equal(read_nifti(dataset / "imagesTr/a_0000.nii.gz")[0], stored - 1024)
    rows = {row["case"]: row for row in read_manifest(dataset / "manifest.csv")}
    assert "lowest value 0" in rows["a"]["flags"]
    assert (dataset / "imagesTr/b_0000.nii.gz").samefile(tmp_path / "b.nii.gz")


def test_one_file_per_structure(tmp_path):
    whole = spine_mask((20, 21))
    paths = [
        save(tmp_path / f"vertebrae_{n}.nii.gz", (whole == v).astype(np.uint8)) for n, v in (("L1", 20), ("L2", 21))
    ]
    overlapping = (whole == 20).astype(np.uint8)
    overlapping[8:16, 10:18, 24:26] = 1  # of L2
    assert np.count_nonzero(overlapping & (whole == 21)) == 128
    save(paths[0], overlapping)
    empty = save(tmp_path / "vertebrae_L3.nii.gz", np.zeros_like(whole))
    source = StructureFiles((("L1", paths[0]), ("L2", paths[1]), ("L3", empty)))
    code, dataset = convert(tmp_path, converter_of(scan_of(tmp_path, "a", mask=source)))
    assert code == 0
    np.testing.assert_array_equal(read_nifti(dataset / "labelsTr/a.nii.gz")[0], whole)
    assert "128 voxels in two structures" in read_manifest(dataset / "manifest.csv")[0]["flags"]


def test_split_by_the_data_set_goes_before_folder_names(tmp_path):
    scans = [scan_of(tmp_path, "a"), scan_of(tmp_path, "b", split="test", place=PurePath("training"))]
    _, dataset = convert(tmp_path, converter_of(*scans))
    assert [row["split"] for row in read_manifest(dataset / "manifest.csv")] == ["training", "test"]


def test_the_example_runs_as_it_is_printed(tmp_path):
    ct = spine_ct(spine_mask((1, 2, 3)))
    for folder, case in (("training", "a"), ("validation", "b"), ("test", "c")):
        save(tmp_path / "src" / folder / f"{case}.nii.gz", ct)
        save(tmp_path / "src" / folder / f"{case}_mask.nii.gz", spine_mask((1, 2, 3)))
    save(tmp_path / "src" / "lonely.nii.gz", ct)
    command = [sys.executable, EXAMPLE, tmp_path / "src", "-d", "711", "-o", tmp_path / "raw", "--hospital", "ours"]
    out = subprocess.run([*command, "-np", "1"], capture_output=True, encoding="utf-8", check=True).stdout
    assert "3 scans of 3 patients: 1 training, 1 validation, 1 test" in out
    assert "from ours 3" in out
    assert "1 file with other names left out, e.g. lonely.nii.gz" in out
    labels = np.unique(read_nifti(tmp_path / "raw" / "Dataset711_Tiny" / "labelsTr" / "a.nii.gz")[0])
    assert labels.tolist() == [0, 20, 21, 22]
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) <= 40


def test_the_example_names_the_image_that_is_missing(tmp_path, capsys):
    save(tmp_path / "src" / "training" / "a_mask.nii.gz", spine_mask((1, 2)))
    converter = runpy.run_path(str(EXAMPLE))["CONVERTER"]
    assert main(converter, [str(tmp_path / "src"), "-d", "711", "-o", str(tmp_path / "raw")]) == 2
    assert "a.nii.gz: no such file" in capsys.readouterr().err
    assert not (tmp_path / "raw").exists()


def test_receipts_name_the_converter_and_its_options(tmp_path):
    ct = spine_ct(spine_mask((1, 2, 3)))
    save(tmp_path / "src" / "training" / "a.nii.gz", ct)
    save(tmp_path / "src" / "training" / "a_mask.nii.gz", spine_mask((1, 2, 3)))
    converter = runpy.run_path(str(EXAMPLE))["CONVERTER"]
    argv = [str(tmp_path / "src"), "-d", "711", "-o", str(tmp_path / "raw"), "-np", "1"]
    assert main(converter, [*argv, "--hospital", "x"]) == 0
    identity = json.loads((tmp_path / "raw" / "Dataset711_Tiny" / "conversion.json").read_text(encoding="utf-8"))[
        "identity"
    ]
    assert (identity["converter"], identity["options"]) == ("tiny", {"hospital": "x"})
    assert main(converter, [*argv, "--hospital", "y"]) == 2
