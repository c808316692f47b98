"""The cascade: what its parts make of each other, with an oracle for the second network, and as a command."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_models import tiny_plans, write_tiny_model
from walked_spines import PATCH, Oracle, blob_spine

from nnunet_spine import cli, geometry
from nnunet_spine.anatomy import BY_NAME, spine_sequence
from nnunet_spine.errors import InputError
from nnunet_spine.inference.cascade import Cascade, OpenCascade, on_grid
from nnunet_spine.inference.scan_files import Scan
from nnunet_spine.io.files import read_json
from nnunet_spine.io.nifti import read_nifti, write_nifti
from nnunet_spine.traversal import Scan as Walked
from nnunet_spine.traversal import spine_parts, walk_spine
from nnunet_spine.traversal.names import Evidence, detections_of, name_vertebrae

REGIONS = {"background": 0, "cervical": 1, "thoracic": 2, "lumbar": 3}
LEVELS = {"background": 0, "T12": 1, "L1": 2, "L2": 3}
HU_PER_RANK = 40.0


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    plans = tiny_plans(spacing=[3.0] * 3, patch_size=list(PATCH))
    return {
        "regions": write_tiny_model(folder / "one", trainer="RegionTrainer", labels=REGIONS, mirroring_axes=None),
        "instances": write_tiny_model(
            folder / "two", trainer="IterativeInstanceTrainer", labels=LEVELS, plans=plans, mirroring_axes=None
        ),
    }


@pytest.fixture(scope="module")
def walked():
    """T9 to L4, turned, as ranks; and a walk along them."""
    ranks, regions, affine = blob_spine(np.random.default_rng(2), 15, 23, "IRP")
    walk = walk_spine(Walked(ranks[None].astype(np.float32), affine, spine_parts(regions, affine)), Oracle(), PATCH)
    return walk, ranks, regions, affine


NAMES = spine_sequence()[15:23]


class TestNames:
    def test_come_from_place_and_region(self, walked):
        walk, _, regions, affine = walked
        labelling = name_vertebrae(walk, affine, regions=Evidence(regions, affine))
        assert [n.name for n in labelling.names] == list(NAMES)
        assert labelling.boundaries == ("T/L",)
        counted = name_vertebrae(walk, affine, regions=Evidence(regions, affine), method="paper")
        assert [n.name for n in counted.names] == list(NAMES)
        assert name_vertebrae(walk, affine).ambiguous  # nothing fixes the count

    def test_evidence_is_the_mean_over_the_vertebra_on_any_grid(self, walked):
        walk, ranks, regions, affine = walked
        probability = np.stack([np.where(regions == r, 0.7, 0.1) for r in (1, 2, 3)]).astype(np.float16)
        turned = np.stack([geometry.reorient(p, affine, "RAS")[0] for p in probability])
        there = geometry.reorient(ranks, affine, "RAS")[1]
        given, on_another_grid = (
            detections_of(walk, affine, regions=Evidence(v, a)) for v, a in ((probability, affine), (turned, there))
        )
        assert given == on_another_grid
        assert given[0].regions == pytest.approx((1 / 9, 7 / 9, 1 / 9), abs=1e-3)

    def test_levels_of_another_network_speak_too(self, walked):
        walk, ranks, _, affine = walked
        ids = np.array([0, *(BY_NAME[name].nnunet_id for name in spine_sequence()[10:18])], np.uint8)  # T4 to T11
        labelling = name_vertebrae(walk, affine, levels=Evidence(ids[ranks], affine), method="rules")
        assert [n.name for n in labelling.names] == list(spine_sequence()[10:18])

    def test_what_is_cut_off_is_said(self, walked):
        walk, _, _, affine = walked
        cut = replace(walk, instances=(replace(walk.instances[0], completeness=0.25), *walk.instances[1:]))
        assert [d.completeness for d in detections_of(cut, affine)] == [0.25] + [1.0] * 7


def test_instances_on_the_grid_of_the_scan(walked):
    """Its own grid, a finer one turned otherwise, and one that ends in the middle."""
    walk, ranks, _, affine = walked
    np.testing.assert_array_equal(on_grid(walk, affine, ranks.shape, affine), ranks)
    fine_shape = tuple(2 * n for n in ranks.shape[::-1])
    fine = affine[:, [2, 1, 0, 3]] @ np.diag([0.5, 0.5, 0.5, 1.0])
    fine[:3, 3] = geometry.to_world(affine, np.full(3, -0.25))
    found = on_grid(walk, affine, fine_shape, fine)
    truth = geometry.resample_nearest(ranks, affine, fine_shape, fine)
    for number in range(1, 9):
        both = np.count_nonzero((found == number) & (truth == number))
        assert 2 * both / (np.count_nonzero(found == number) + np.count_nonzero(truth == number)) > 0.9
    half = (ranks.shape[0] // 2, *ranks.shape[1:])
    np.testing.assert_array_equal(on_grid(walk, affine, half, affine), ranks[: half[0]])


class TestSegmenter:
    @pytest.mark.parametrize("codes", ["RAS", "PIR"])
    def test_from_a_scan_to_named_vertebrae(self, models, monkeypatch, codes):
        """Grey values tell the oracle the vertebra; the first network is replaced by the truth."""
        ranks, regions, affine = blob_spine(np.random.default_rng(2), 15, 23, codes)
        scan = Scan(100 + ranks * np.float32(HU_PER_RANK), affine)  # 100 HU becomes 0, as padding is
        opened = Cascade(str(models["regions"]), str(models["instances"]), device="cpu").open()
        truth = Evidence(np.stack([regions == r for r in (1, 2, 3)]), affine)
        monkeypatch.setattr(OpenCascade, "_regions", lambda self, scan: (truth, None))

        def oracle(patches):
            patches = patches.copy()
            patches[:, 0] = np.rint(patches[:, 0] * 200 / HU_PER_RANK)  # as the tiny plans normalise
            return Oracle()(patches)

        found = replace(opened, segmenter=oracle).segment(scan)
        ids = np.array([0, *(BY_NAME[name].nnunet_id for name in NAMES)], np.uint8)
        np.testing.assert_array_equal(found.labels, ids[ranks])
        assert [bone.name for bone in found.named.bones] == list(NAMES)
        assert found.details["parts_of_the_spine"] == 1 and found.details["passes_per_vertebra"] <= 1.6
        assert len(found.details["walk"]["instances"]) == 8

    def test_models_of_the_wrong_kind_are_refused(self, models):
        one, two = str(models["regions"]), str(models["instances"])
        with pytest.raises(InputError, match=r"a model of RegionTrainer\. Give one of IterativeInstanceTrainer"):
            Cascade(one, one, device="cpu").open()
        with pytest.raises(InputError, match="nnunet-spine predict --instances"):
            Cascade(two, two, device="cpu").open()


class TestCommand:
    def test_a_case_from_end_to_end(self, models, tmp_path):
        """Of networks that know nothing: whatever they answer, the files are whole."""
        rng = np.random.default_rng(0)
        image = rng.integers(-200, 600, (30, 28, 40)).astype(np.int16)
        write_nifti(tmp_path / "in" / "a_0000.nii.gz", image, np.diag([3.0, 3.0, 3.0, 1.0]))
        arguments = [
            "-i",
            str(tmp_path / "in"),
            "-o",
            str(tmp_path / "out"),
            "-device",
            "cpu",
            "--no-pictures",
            "--quiet",
        ]
        stages = ["--regions", str(models["regions"]), "--instances", str(models["instances"])]
        assert cli.main(["predict", *arguments, *stages]) == 0
        labels, _ = read_nifti(tmp_path / "out" / "a.nii.gz")
        assert labels.shape == image.shape
        report = read_json(tmp_path / "out" / "reports" / "a.json")
        assert report["model"]["name"] == "one, then two"
        assert {"parts_of_the_spine", "walk", "doubts"} <= set(report)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--regions", "x"], "a cascade has two stages"),
            (["--regions", "x", "--instances", "y", "-m", "z"], "-m beside --regions and --instances"),
            (["--regions", "x", "--instances", "y", "-f", "0"], "-f beside --regions and --instances"),
        ],
    )
    def test_contradictions_are_one_line(self, tmp_path, capsys, options, message):
        write_nifti(tmp_path / "in" / "a_0000.nii.gz", np.zeros((20, 20, 20), np.int16), np.eye(4))
        assert cli.main(["predict", "-i", str(tmp_path / "in"), "-o", str(tmp_path / "out"), *options]) == 2
        assert message in capsys.readouterr().err
