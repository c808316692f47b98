"""Evaluation of folders: failures, kept cases, workers, the record, the command."""

import csv
import json
import os
import shutil
import subprocess
import sys

import nibabel
import numpy as np
import pytest
import SimpleITK
from cube_spine import AFFINE, DISTANCE_MM, LEVELS_SEEN, centre_mm, spine, write
from scipy import ndimage

from nnunet_spine import cli, evaluation, geometry
from nnunet_spine.anatomy import BY_NAME
from nnunet_spine.errors import InputError
from nnunet_spine.evaluation import case_job
from nnunet_spine.io import files, itk, nifti
from nnunet_spine.io.label_tables import write_mask
from nnunet_spine.scores import Settings

ONE_DOWN = ("T12", "L1", "L2", "L3")


@pytest.fixture
def folders(tmp_path):
    """Cases a (perfect) and b (one level too caudal)."""
    for case, names in {"a": LEVELS_SEEN, "b": ONE_DOWN}.items():
        write(tmp_path / "ref" / f"{case}.nii.gz")
        write(tmp_path / "pred" / f"{case}.nii.gz", spine(names))
    return tmp_path


def run(folder, *options, expect=0):
    arguments = ["-p", str(folder / "pred"), "-g", str(folder / "ref"), "-o", str(folder / "out"), "-np", "1"]
    assert cli.main(["evaluate", *arguments, *map(str, options)]) == expect
    return evaluation.load(folder / "out")


def vertebra(entry, name):
    return next(v for v in entry["vertebrae"] if v["name"] == name)


class TestCommand:
    def test_end_to_end_by_hand(self, folders, capsys):
        a, b = run(folders)["cases"]
        out = capsys.readouterr().out
        assert "All labels correct in 1 of 2 scans" in out
        assert out.index("| b ") < out.index("| a ")  # the suspicious one first
        assert (a["dice"], a["localisation_error_mm"], a["all_labels_correct"], a["suspicion"]) == (1, 0, True, 0)
        assert (b["dice"], b["binary_dice"], b["shift"], b["missed"]) == (0, 1, 1, ["T11"])
        assert b["localisation_error_mm"] == pytest.approx(DISTANCE_MM)
        assert b["localisation_error_penalised_mm"] == pytest.approx((3 * DISTANCE_MM + 1000) / 4)
        assert [s["name"] for s in b["surplus"]] == ["L3"]
        assert vertebra(b, "T12")["found_as"] == "L1"
        assert vertebra(b, "T12")["misnamed"]
        assert a["prediction"] == "../pred/a.nii.gz"

    def test_the_record_is_json_without_nan_and_states_its_settings(self, folders):
        run(folders, "--radius", 15, "--nsd-tolerance", 2, "--miss-penalty", 100, "--bootstrap", 50, "--seed", 3)
        text = (folders / "out" / "evaluation.json").read_text(encoding="utf-8")
        record = json.loads(text, parse_constant=lambda name: pytest.fail(name))
        settings = record["settings"]
        assert (settings["identification_radius_mm"], settings["nsd_tolerance_mm"]) == (15, 2)
        assert (settings["miss_penalty_mm"], settings["bootstrap_draws"], settings["bootstrap_seed"]) == (100, 50, 3)
        assert settings["centre"] == "centroid of the whole vertebra mask"
        assert record["cases"][1]["localisation_error_penalised_mm"] == pytest.approx((3 * DISTANCE_MM + 100) / 4)
        assert record["summary"]["cases"] == 2

    def test_one_millimetre_grid(self, folders):
        a = run(folders, "--grid", "1mm")["cases"][0]
        assert a["dice"] == 1
        assert vertebra(a, "L1")["reference_mm3"] == pytest.approx(20**3)
        assert any("resampled" in note for note in a["notes"])

    def test_quiet_prints_results_only(self, folders, capsys):
        run(folders, "--quiet")
        captured = capsys.readouterr()
        assert captured.err == ""
        assert "| all " in captured.out

    def test_workers_give_the_same_and_load_neither_torch_nor_nnunet(self, folders):
        alone = run(folders)
        code = (
            "import sys; from nnunet_spine.cli import main\n"
            "if __name__ == '__main__':\n"
            f"    main(['evaluate', '-p', {str(folders / 'pred')!r}, '-g', {str(folders / 'ref')!r},"
            f" '-o', {str(folders / 'out2')!r}, '-np', '2', '--quiet'])\n"
            "    import nnunet_spine.evaluation.evaluate\n"
            "    sys.exit(3 * bool({'torch', 'nnunetv2', 'matplotlib'} & set(sys.modules)))\n"
        )
        (folders / "main.py").write_text(code, encoding="utf-8")
        result = subprocess.run([sys.executable, str(folders / "main.py")], capture_output=True, encoding="utf-8")
        assert result.returncode == 0, result.stderr
        assert evaluation.load(folders / "out2")["cases"] == alone["cases"]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--reference-labels", "ctspine"], "label table 'ctspine'"),
            (["--radius", "-1"], "identification_radius_mm"),
            (["-g", "nowhere"], "no such file or folder"),
            (["-p", "x=nowhere"], "without a name"),
        ],
    )
    def test_unusable_input_is_one_line_and_exit_code_2(self, folders, capsys, options, message):
        arguments = ["-p", str(folders / "pred"), "-g", str(folders / "ref"), "-o", str(folders / "out")]
        assert cli.main(["evaluate", *arguments, *options]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
        assert not (folders / "out").exists()

    def test_no_reference_at_all(self, folders, capsys):
        assert cli.main(["evaluate", "-p", str(folders / "pred"), "-o", str(folders / "out")]) == 2
        assert "no reference" in capsys.readouterr().err


class TestFailures:
    @pytest.fixture
    def spoiled(self, folders):
        """Beside a and b: every fault a case can have."""
        for case in ("empty_reference", "empty_prediction", "verse_ids", "elsewhere", "truncated", "unpredicted"):
            write(folders / "ref" / f"{case}.nii.gz")
            write(folders / "pred" / f"{case}.nii.gz")
        write(folders / "ref" / "empty_reference.nii.gz", np.zeros_like(spine()))
        write(folders / "pred" / "empty_prediction.nii.gz", np.zeros_like(spine()))
        write(folders / "pred" / "verse_ids.nii.gz", spine(["T12", "T13", "L1", "L2"], "verse_id"))
        write(folders / "pred" / "elsewhere.nii.gz", spine(), AFFINE + np.array([[0, 0, 0, 900]] * 3 + [[0] * 4]))
        path = folders / "pred" / "truncated.nii.gz"
        noise = np.random.default_rng(0).integers(0, 26, (40, 40, 40), np.uint8)
        write(path, noise)
        path.write_bytes(path.read_bytes()[:20_000])
        (folders / "pred" / "unpredicted.nii.gz").unlink()
        return folders

    def test_each_is_reported_and_the_others_are_scored(self, spoiled, capsys):
        record = run(spoiled, "--prediction-labels", "nnunet", expect=1)
        assert [c["case"] for c in record["cases"]] == ["a", "b", "empty_prediction", "empty_reference"]
        messages = {f["case"]: f["message"] for f in record["failures"]}
        assert messages.keys() == {"elsewhere", "truncated", "unpredicted", "verse_ids"}
        assert "label 28 is not in the table nnunet (T13 in verse" in messages["verse_ids"]
        assert "--prediction-labels" in messages["verse_ids"]
        assert "different world frame" in messages["elsewhere"]
        assert "truncated" in messages["truncated"]
        assert "no prediction for this reference" in messages["unpredicted"]
        error, summary = capsys.readouterr().err, (spoiled / "out" / "summary.md").read_text(encoding="utf-8")
        for case, message in messages.items():
            assert f"{case}: " in error
            assert message in error
            assert message in summary
        assert "4 of 8 cases failed" in summary
        path = next(f["path"] for f in record["failures"] if f["case"] == "truncated")
        assert path == "../pred/truncated.nii.gz"

    def test_an_empty_prediction_misses_everything(self, spoiled):
        case = run(spoiled, "--prediction-labels", "nnunet", expect=1)["cases"][2]
        assert case["missed"] == list(LEVELS_SEEN)
        assert (case["dice"], case["localisation_error_mm"], case["identification_rate"]) == (0, None, 0)
        assert case["localisation_error_penalised_mm"] == 1000
        assert "prediction is empty" in case["notes"]

    def test_groups_of_cases(self, folders):
        (folders / "groups.csv").write_text("case,group\na,healthy\nb,osteoporotic\n", encoding="utf-8")
        a, b = run(folders, "--groups", folders / "groups.csv")["cases"]
        assert (a["groups"], b["groups"]) == (["healthy"], ["osteoporotic"])
        lines = [" ".join(x.split()) for x in (folders / "out" / "summary.md").read_text(encoding="utf-8").splitlines()]
        assert "| method | healthy | osteoporotic |" in lines
        assert "| osteoporotic | 1 | 100.0 |" in lines  # Dice of the entire spine, whatever its names
        groups = evaluation.load(folders / "out")["groups"]
        assert groups["osteoporotic"]["all_labels_correct"]["count"] == 0
        rows = list(csv.DictReader((folders / "out" / "summary.csv").open(encoding="utf-8")))
        found = {r["cases"]: r["mean"] for r in rows if (r["group"], r["metric"]) == ("All", "dice")}
        assert found == {"all": "0.5", "healthy": "1.0", "osteoporotic": "0.0"}

    def test_a_case_may_be_in_several_groups(self, folders):
        (folders / "groups.csv").write_text(
            "case,group\na,healthy\na,everyone\nb,everyone\na,everyone\n", encoding="utf-8"
        )
        a, b = run(folders, "--groups", folders / "groups.csv")["cases"]
        assert (a["groups"], b["groups"]) == (["healthy", "everyone"], ["everyone"])

    @pytest.mark.parametrize(
        "text", ["name,group\na,x\n", "case,group\na,\n", "case,group\na,all\n", "case,group\nz,x\n"]
    )
    def test_groups_that_cannot_be_used(self, folders, text, capsys):
        (folders / "groups.csv").write_text(text, encoding="utf-8")
        arguments = ["-p", str(folders / "pred"), "-g", str(folders / "ref"), "-o", str(folders / "out")]
        assert cli.main(["evaluate", *arguments, "--groups", str(folders / "groups.csv")]) == 2
        assert "group" in capsys.readouterr().err

    def test_only_common(self, folders):
        (folders / "pred" / "a.nii.gz").unlink()
        assert len(run(folders, expect=1)["failures"]) == 1
        assert run(folders, "--only-common")["failures"] == []

    def test_an_empty_reference_is_scored_by_what_is_surplus(self, folders):
        write(folders / "ref" / "a.nii.gz", np.zeros_like(spine()))
        write(folders / "ref" / "b.nii.gz", np.zeros_like(spine()))
        write(folders / "pred" / "b.nii.gz", np.zeros_like(spine()))
        a, b = (record := run(folders))["cases"]
        assert [s["name"] for s in a["surplus"]] == list(LEVELS_SEEN)
        assert (a["binary_dice"], a["all_labels_correct"], a["notes"]) == (0, False, ["reference is empty"])
        assert (b["binary_dice"], b["all_labels_correct"], b["suspicion"]) == (None, True, 0)
        assert record["summary"]["regions"][0]["surplus"] == 4
        assert record["summary"]["all_labels_correct"]["count"] == 1

    def test_nothing_left(self, folders):
        for case in "ab":
            (folders / "ref" / f"{case}.nii.gz").write_bytes(b"no mask")
        record = run(folders, expect=1)
        assert (record["cases"], record["summary"]["cases"]) == ([], 0)


class TestKeptCases:
    @pytest.fixture
    def scored(self, monkeypatch):
        """Names of the cases that were really scored."""
        names = []
        original = case_job.CaseJob.run

        def spy(job):
            names.append(job.case)
            return original(job)

        monkeypatch.setattr(case_job.CaseJob, "run", spy)
        return names

    def test_a_second_run_scores_nothing_and_gives_the_same(self, folders, scored):
        first = run(folders)
        assert scored == ["a", "b"]
        assert run(folders) == first
        assert scored == ["a", "b"]

    def test_settings_of_the_cohort_need_no_new_scores(self, folders, scored):
        run(folders)
        record = run(folders, "--miss-penalty", 5, "--bootstrap", 10, "--seed", 1)
        assert scored == ["a", "b"]
        assert record["cases"][1]["localisation_error_penalised_mm"] == pytest.approx((3 * DISTANCE_MM + 5) / 4)

    @pytest.mark.parametrize("options", [["--radius", 10], ["--grid", "1mm"], ["--centre", "body"]])
    def test_other_settings_do(self, folders, scored, options):
        run(folders)
        run(folders, *options)
        assert scored == ["a", "b"] * 2

    def test_changed_files_do(self, folders, scored):
        run(folders)
        write(folders / "pred" / "b.nii.gz", spine())
        assert run(folders)["cases"][1]["dice"] == 1
        assert scored == ["a", "b", "b"]

    def test_moved_and_touched_files_do_not(self, folders, scored):
        run(folders)
        os.utime(folders / "pred" / "a.nii.gz")
        assert run(folders)["cases"][0]["dice"] == 1
        (folders / "pred").rename(folders / "moved")
        (folders / "pred").symlink_to(folders / "moved")
        run(folders)
        assert scored == ["a", "b"]

    def test_a_file_of_the_same_size_and_time_is_scored_again_if_it_holds_something_else(self, folders, scored):
        path = folders / "pred" / "b.nii"
        (folders / "pred" / "b.nii.gz").unlink()
        write(path, spine(ONE_DOWN))
        os.utime(path, (1e9, 1e9))
        run(folders)
        write(path, spine())
        os.utime(path, (1e9, 1e9))
        assert run(folders)["cases"][1]["dice"] == 1
        assert scored == ["a", "b", "b"]

    def test_damaged_ones_are_scored_again(self, folders, scored):
        first = run(folders)
        (folders / "out" / "cases" / "a.json").write_text('{"signature"', encoding="utf-8")
        assert run(folders) == first
        assert scored == ["a", "b", "a"]

    def test_an_interruption_keeps_what_is_finished_and_leaves_nothing_half_written(self, folders, monkeypatch, capsys):
        original = case_job.CaseJob.run

        def interrupted(job):
            if job.case == "b":
                raise KeyboardInterrupt
            return original(job)

        with monkeypatch.context() as patch:
            patch.setattr(case_job.CaseJob, "run", interrupted)
            arguments = ["-p", str(folders / "pred"), "-g", str(folders / "ref"), "-o", str(folders / "out")]
            assert cli.main(["evaluate", *arguments, "-np", "1"]) == 130
        assert [p.name for p in (folders / "out").rglob("*") if p.is_file()] == ["a.json"]
        assert len(run(folders)["cases"]) == 2


class TestParts:
    """Several runs of one evaluation."""

    def part(self, folders, number, parts=2, expect=0):
        arguments = ["-p", str(folders / "pred"), "-g", str(folders / "ref"), "-o", str(folders / "out"), "-np", "1"]
        assert cli.main(["evaluate", *arguments, "-num_parts", str(parts), "-part_id", str(number)]) == expect

    def test_the_last_part_writes_what_one_run_writes(self, folders, capsys):
        write(folders / "ref" / "c.nii.gz")  # fails, in part 0
        write(folders / "pred" / "c.nii.gz", spine(), AFFINE + np.array([[0, 0, 0, 900]] * 3 + [[0] * 4]))
        self.part(folders, 0, expect=1)
        captured = capsys.readouterr()
        assert "part 0 of 2 scored" in captured.out
        assert "waits for 1 case of other parts" in captured.out
        assert "c: " in captured.err
        assert {p.name for p in (folders / "out").rglob("*") if p.is_file()} == {"a.json", "c.json"}
        self.part(folders, 0, expect=1)
        self.part(folders, 1, expect=1)
        joined = {p.name: p.read_bytes() for p in (folders / "out").iterdir() if p.is_file()}
        assert [f["case"] for f in json.loads(joined["evaluation.json"])["failures"]] == ["c"]
        shutil.rmtree(folders / "out")
        run(folders, expect=1)
        assert {p.name: p.read_bytes() for p in (folders / "out").iterdir() if p.is_file()} == joined

    def test_more_parts_than_cases(self, folders):
        for number in (0, 1, 2):
            self.part(folders, number, parts=3)
        assert len(evaluation.load(folders / "out")["cases"]) == 2


class TestCentres:
    """References of centres only, or beside masks."""

    def own_file(self, path, shift_mm=0.0, names=LEVELS_SEEN):
        points = {name: centre_mm(name) for name in names}
        entries = [
            {
                "name": name,
                "mask_centroid_mm": np.add(point, [shift_mm, 0, 0]).tolist(),
                "body_centre_mm": np.add(point, [0, 12, 0]).tolist(),
            }
            for name, point in points.items()
        ]
        files.write_json(path, {"case": path.stem, "frame": "RAS mm", "vertebrae": entries})

    def test_centres_alone(self, folders):
        for case in "ab":
            (folders / "ref" / f"{case}.nii.gz").unlink()
            self.own_file(folders / "ref" / f"{case}.json", 3.0)
        a, b = run(folders)["cases"]
        assert (a["dice"], a["identification_rate"]) == (None, 1)
        assert a["localisation_error_mm"] == pytest.approx(3)
        assert (b["identification_rate"], b["missed"]) == (0, ["T11"])
        assert a["reference_mask"] is None
        assert a["reference_centroids"] == "../ref/a.json"

    def test_centres_beside_masks_take_the_place_of_the_masks_own(self, folders):
        self.own_file(folders / "points" / "a.json", 4.0, LEVELS_SEEN[:3])
        a = run(folders, "-c", folders / "points")["cases"][0]
        assert vertebra(a, "T11")["distance_mm"] == pytest.approx(4)
        assert vertebra(a, "L2")["distance_mm"] == pytest.approx(0)
        assert vertebra(a, "T11")["dice"] == 1
        assert "reference mask without centre: L2" in a["notes"]

    def test_body_centres_are_never_compared_with_mask_centroids(self, folders):
        points = [{"label": BY_NAME["L1"].verse_id, "X": 3.5, "Y": 3.5, "Z": 8.5}]
        text = json.dumps([{"direction": ["R", "A", "S"]}, *points])
        (folders / "ref" / "a_ctd.json").write_text(text, encoding="utf-8")
        notes = run(folders, "-c", folders / "ref")["cases"][0]["notes"]
        assert any("body centres; --centre body uses them" in note for note in notes)
        (folders / "ref" / "a.nii.gz").unlink()
        (failure,) = run(folders, expect=1)["failures"]
        assert "Use --centre body" in failure["message"]
        a = run(folders, "--centre", "body")["cases"][0]
        assert vertebra(a, "L1")["distance_mm"] == pytest.approx(0)


class TestRecord:
    def test_read_case_gives_everything_on_the_grid_of_the_reference(self, folders):
        turned, affine = geometry.reorient(spine(), AFFINE, "PIR")
        write(folders / "pred" / "a.nii.gz", np.ascontiguousarray(turned), affine)
        write(folders / "images" / "a_0000.nii.gz", spine().astype(np.int16) * 10)
        fine = AFFINE.copy()
        fine[:3, :3] /= 2
        write(folders / "images" / "b_0000.nii.gz", np.full((16, 16, 52), 40, np.int16), fine)
        a, b = run(folders, "-i", folders / "images")["cases"]
        arrays = evaluation.read_case(a, folders / "out")
        np.testing.assert_array_equal(arrays.prediction, spine())
        np.testing.assert_array_equal(arrays.reference, spine())
        np.testing.assert_array_equal(arrays.image, spine() * 10)
        np.testing.assert_allclose(arrays.affine, AFFINE)
        assert evaluation.read_case(b, folders / "out").image.shape == spine().shape

    def test_read_case_remembers_the_label_tables(self, folders):
        table = {"background": 0, "L2": 1, "L1": 2, "T12": 3, "T11": 4}
        mask = np.zeros_like(spine())
        for name, value in table.items():
            if value:
                mask[spine() == BY_NAME[name].nnunet_id] = value
        write(folders / "ref" / "a.nii.gz", mask)
        (folders / "ref" / "b.nii.gz").unlink()
        files.write_json(folders / "ref" / "dataset.json", {"labels": table})
        (a,) = run(folders, "--reference-labels", folders / "ref" / "dataset.json")["cases"]
        assert [table["name"] for table in a["label_tables"]] == ["nnunet", str(folders / "ref" / "dataset.json")]
        np.testing.assert_array_equal(evaluation.read_case(a, folders / "out").reference, spine())

    def test_scores_survive_json(self, folders):
        entry = run(folders)["cases"][1]
        score = evaluation.score_from_dict(entry)
        assert (score["dice"], score.shift, score.missed) == (entry["dice"], entry["shift"], tuple(entry["missed"]))
        assert evaluation.score_from_dict(json.loads(json.dumps(evaluation.score_to_dict(score)))) == score

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("{", "not readable as JSON"),
            ('{"cases": []}', "not a result of"),
            ('{"version": 99, "settings": {}, "metrics": [], "summary": {}, "cases": []}', "version 99"),
        ],
    )
    def test_other_files_are_refused(self, tmp_path, content, message):
        (tmp_path / "evaluation.json").write_text(content, encoding="utf-8")
        with pytest.raises(InputError, match=message):
            evaluation.load(tmp_path)

    def test_memory_follows_the_larger_of_both_masks(self, folders):
        small, large = folders / "pred" / "a.nii.gz", folders / "ref" / "a.nii.gz"
        write(large, np.zeros((20, 30, 40), np.uint8))
        write(small, np.zeros((2, 3, 4), np.uint8))
        table = evaluation.find_table("nnunet")
        job = evaluation.CaseJob(evaluation.CaseFiles("a", small, large, None), Settings(), table, table)
        assert job.peak_bytes() == 4 * 20 * 30 * 40
        small.unlink()
        large.unlink()
        assert job.peak_bytes() == 0  # reported when its turn comes


def renumbered(table):
    """The spine with the values of a table of names."""
    mask = np.zeros_like(spine())
    for name, value in table.items():
        mask[spine() == BY_NAME[name].nnunet_id] = value
    return mask


OWN_VALUES = {"L2": 1, "L1": 2, "T12": 3, "T11": 4}


class TestLabelEvidence:
    """What lies beside or in the masks wins over what values usually mean."""

    def dataset_json(self, folder, labels):
        files.write_json(folder / "dataset.json", {"labels": {"background": 0, **labels}})

    @pytest.mark.parametrize("place", ["ref", "."])
    def test_dataset_json_beside_or_above_the_masks(self, folders, place):
        write(folders / "ref" / "a.nii.gz", renumbered(OWN_VALUES))
        write(folders / "ref" / "b.nii.gz", renumbered(OWN_VALUES))
        write(folders / "pred" / "b.nii.gz")
        self.dataset_json(folders / place, OWN_VALUES)
        options = [] if place == "ref" else ["--prediction-labels", "nnunet"]  # above both
        for case in run(folders, *options)["cases"]:
            assert (case["dice"], case["all_labels_correct"]) == (1, True)

    def test_a_sacrum_is_no_l6(self, folders):
        write(
            folders / "pred" / "a.nii.gz", renumbered({**{n: BY_NAME[n].nnunet_id for n in LEVELS_SEEN[:3]}, "L2": 25})
        )
        write(folders / "ref" / "a.nii.gz", renumbered({n: BY_NAME[n].nnunet_id for n in LEVELS_SEEN[:3]}))
        write(folders / "pred" / "b.nii.gz")
        self.dataset_json(folders / "pred", {**{n: BY_NAME[n].nnunet_id for n in LEVELS_SEEN}, "sacrum": 25})
        a, _ = run(folders)["cases"]
        assert (a["surplus"], a["all_labels_correct"]) == ([], True)
        assert "prediction: sacrum left out" in a["notes"]

    def test_the_table_in_the_mask_s_own_header(self, folders):
        for case in "ab":
            write_mask(folders / "ref" / f"{case}.nii.gz", renumbered(OWN_VALUES), AFFINE, OWN_VALUES)
            write(folders / "pred" / f"{case}.nii.gz")
        assert all(case["all_labels_correct"] for case in run(folders)["cases"])

    def test_a_contradiction_is_an_error_with_both_meanings(self, folders, capsys):
        self.dataset_json(folders / "ref", OWN_VALUES)
        write_mask(folders / "ref" / "a.nii.gz", renumbered(OWN_VALUES), AFFINE, {"T12": 1, "T11": 2})
        write(folders / "ref" / "b.nii.gz", renumbered(OWN_VALUES))
        arguments = ["-p", str(folders / "pred"), "-g", str(folders / "ref"), "-o", str(folders / "out")]
        assert cli.main(["evaluate", *arguments]) == 2
        error = capsys.readouterr().err
        assert "label 1 is L2 by" in error
        assert "and T12 by" in error
        assert "--reference-labels" in error
        assert cli.main(["evaluate", *arguments, "--reference-labels", str(folders / "ref" / "dataset.json")]) == 0

    def test_evidence_that_cannot_be_read_is_no_evidence_to_pass_over(self, folders, capsys):
        arguments = ["-p", str(folders / "pred"), "-g", str(folders / "ref"), "-o", str(folders / "out")]
        self.dataset_json(folders / "ref", {"L1": [1, 2]})
        assert cli.main(["evaluate", *arguments]) == 2
        assert "or name the table with --reference-labels" in capsys.readouterr().err
        (folders / "ref" / "dataset.json").unlink()
        damaged = nibabel.nifti1.Nifti1Extension(30, b"<CaretExtension><LabelTable")
        nifti.write_nifti(folders / "ref" / "a.nii.gz", spine(), AFFINE, extensions=(damaged,))
        assert cli.main(["evaluate", *arguments]) == 2
        assert "a.nii.gz: the label table in its header is damaged" in capsys.readouterr().err
        assert cli.main(["evaluate", *arguments, "--reference-labels", "nnunet"]) == 0

    def test_what_says_nothing_about_labels_is_no_evidence(self, folders):
        files.write_json(folders / "ref" / "labels.json", {"images": []})  # of some other program
        files.write_json(folders / "pred" / "dataset.json", {"name": "spines"})
        write_mask(folders / "ref" / "a.nii.gz", spine(), AFFINE, {"Segment_1": 18, "Label 19": 19, "20": 20})
        assert run(folders)["cases"][0]["all_labels_correct"]

    def test_values_that_may_be_levels_or_regions_are_not_guessed(self, folders, capsys):
        for case in "ab":
            write(folders / "ref" / f"{case}.nii.gz", (spine() > 0).astype(np.uint8))
        arguments = ["-p", str(folders / "pred"), "-g", str(folders / "ref"), "-o", str(folders / "out")]
        assert cli.main(["evaluate", *arguments]) == 2
        assert "name the table with --reference-labels" in capsys.readouterr().err.replace("Name", "name")

    def test_regions_are_scored_as_regions(self, folders, capsys):
        regions = {"T11": 2, "T12": 2, "L1": 3, "L2": 3}
        wrong = {"T11": 2, "T12": 3, "L1": 3, "L2": 3}
        for case, prediction in {"a": regions, "b": wrong}.items():
            for folder, table in (("ref", regions), ("pred", prediction)):
                write(folders / folder / f"{case}.nii.gz", renumbered(table))
        for folder in ("ref", "pred"):
            self.dataset_json(folders / folder, {"cervical": 1, "thoracic": 2, "lumbar": 3})
        record = run(folders)
        a, b = record["cases"]
        assert record["settings"]["kind"] == "regions"
        assert [v["name"] for v in b["vertebrae"]] == ["thoracic", "lumbar"]
        assert [v["dice"] for v in b["vertebrae"]] == pytest.approx([2 / 3, 4 / 5])
        assert (b["binary_dice"], b["identification_rate"], b["shift"], b["all_labels_correct"]) == (
            1,
            None,
            None,
            None,
        )
        assert (a["suspicion"], a["localisation_error_mm"]) == (0, None)
        assert [g["group"] for g in record["summary"]["levels"]] == ["thoracic", "lumbar"]
        assert evaluation.read_case(b, folders / "out").prediction.max() == 3

    def test_vertebrae_against_regions_and_the_spine_compare_as_the_coarser_ones(self, folders):
        for case in "ab":
            write(folders / "pred" / f"{case}.nii.gz", (spine() > 0).astype(np.uint8))
        self.dataset_json(folders / "pred", {"spine": 1})
        record = run(folders)
        assert record["settings"]["kind"] == "spine"
        assert [v["name"] for v in record["cases"][0]["vertebrae"]] == ["spine"]
        assert record["cases"][0]["dice"] == 1


class TestOtherFiles:
    """Masks that other programs write."""

    def sitk_image(self, path, labels, affine):
        image = SimpleITK.GetImageFromArray(labels.T)
        itk.set_affine(image, affine)
        path.parent.mkdir(parents=True, exist_ok=True)
        SimpleITK.WriteImage(image, str(path), useCompression=True)

    @pytest.mark.parametrize("ending", [".nrrd", ".mha", ".seg.nrrd"])
    def test_nrrd_and_metaimage_on_either_side(self, folders, ending):
        turned, affine = geometry.reorient(spine(), AFFINE, "LPI")
        self.sitk_image(folders / "pred2" / f"a{ending}", np.ascontiguousarray(turned), affine)
        self.sitk_image(folders / "ref2" / f"a{ending}", spine(), AFFINE)
        arguments = ["-p", str(folders / "pred2"), "-g", str(folders / "ref2"), "-o", str(folders / "out"), "-np", "1"]
        assert cli.main(["evaluate", *arguments]) == 0
        (case,) = evaluation.load(folders / "out")["cases"]
        assert (case["dice"], case["localisation_error_mm"]) == (1, pytest.approx(0))
        assert vertebra(case, "L1")["reference_centre_mm"] == pytest.approx(centre_mm("L1"))

    def test_segments_of_3d_slicer_are_called_by_their_names(self, folders):
        labels = renumbered(OWN_VALUES)
        image = SimpleITK.GetImageFromArray(labels.T)
        itk.set_affine(image, AFFINE)
        for k, (name, value) in enumerate(OWN_VALUES.items()):
            image.SetMetaData(f"Segment{k}_Name", f"vertebrae_{name}")
            image.SetMetaData(f"Segment{k}_LabelValue", str(value))
        for case in "ab":
            (folders / "pred" / f"{case}.nii.gz").unlink()
            SimpleITK.WriteImage(image, str(folders / "pred" / f"{case}.seg.nrrd"))
        assert all(case["all_labels_correct"] for case in run(folders)["cases"])

    @pytest.mark.parametrize("below", ["", "segmentations"])
    def test_a_folder_with_one_file_per_vertebra_is_one_mask(self, folders, below):
        for case in "ab":
            (folders / "pred" / f"{case}.nii.gz").unlink()
            for name in LEVELS_SEEN:
                one = (spine() == BY_NAME[name].nnunet_id).astype(np.uint8)
                write(folders / "pred" / case / below / f"vertebrae_{name}.nii.gz", one)
            write(folders / "pred" / case / below / "liver.nii.gz", (spine() == 0).astype(np.uint8))
        record = run(folders)
        assert all((c["dice"], c["all_labels_correct"]) == (1, True) for c in record["cases"])
        np.testing.assert_array_equal(evaluation.read_case(record["cases"][0], folders / "out").prediction, spine())
        write(folders / "pred" / "a" / below / "vertebrae_L1.nii.gz", np.ones_like(spine()))
        (failure,) = run(folders, expect=1)["failures"]
        assert "overlaps another vertebra" in failure["message"]


class TestOneMillimetre:
    @pytest.mark.parametrize("codes", ["LPS", "PIR", "ASL", "IRP"])
    @pytest.mark.parametrize("spacing", [(0.5, 0.5, 0.5), (0.8, 1.5, 2.5)])
    def test_nothing_depends_on_how_a_file_is_stored(self, tmp_path, codes, spacing):
        labels = np.kron(spine(), np.ones((3, 3, 2), np.uint8))
        affine = np.diag([*spacing, 1.0])
        affine[:3, 3] = (3.2, -7.7, 12.1)
        turned, turned_affine = geometry.reorient(labels, affine, codes)
        write(tmp_path / "ref" / "a.nii.gz", labels, affine)
        write(tmp_path / "pred" / "a.nii.gz", np.ascontiguousarray(turned), turned_affine)
        (a,) = run(tmp_path, "--grid", "1mm")["cases"]
        assert (a["dice"], a["hd_mm"], a["localisation_error_mm"]) == (1, 0, 0)
        write(tmp_path / "pred" / "a.nii.gz", np.roll(labels, 1, 0), affine)
        (straight,) = run(tmp_path, "--grid", "1mm")["cases"]
        write(tmp_path / "ref" / "a.nii.gz", np.ascontiguousarray(turned), turned_affine)
        (other,) = run(tmp_path, "--grid", "1mm")["cases"]
        for key in ("dice", "assd_mm", "hd95_mm", "nsd", "localisation_error_mm"):
            assert other[key] == pytest.approx(straight[key], abs=1e-9)


class TestRealMasks:
    @pytest.fixture
    def lumbar(self, real_data):
        path = real_data / "ct" / "sub-tptbox_seg-vert_msk.nii.gz"
        labels, affine = nifti.read_nifti(path)
        return path, labels.astype(np.uint8), affine

    def score(self, tmp_path, reference, labels, affine, *options):
        prediction = write(tmp_path / "pred" / "tptbox.nii.gz", labels, affine)
        arguments = ["-p", str(prediction), "-g", str(reference), "-o", str(tmp_path / "out"), "--quiet"]
        assert cli.main(["evaluate", *arguments, *options]) == 0
        (case,) = evaluation.load(tmp_path / "out")["cases"]
        return case

    def test_eroded(self, lumbar, tmp_path):
        path, labels, affine = lumbar
        eroded = labels * ndimage.binary_erosion(labels > 0).astype(np.uint8)
        case = self.score(tmp_path, path, eroded, affine)
        both, size = np.count_nonzero(eroded), np.count_nonzero(labels)
        assert case["binary_dice"] == pytest.approx(2 * both / (both + size))
        assert case["all_labels_correct"]
        assert 1 < case["assd_mm"] < 2  # one voxel of 1.5 mm

    def test_shifted_by_its_header(self, lumbar, tmp_path):
        path, labels, affine = lumbar
        moved = affine.copy()
        moved[:3, 3] += [0, 0, 3.0]
        case = self.score(tmp_path, path, labels, moved)
        assert case["localisation_error_mm"] == pytest.approx(3, abs=0.6)
        assert "resampled" in case["notes"][0]

    def test_turned_and_relabelled(self, lumbar, tmp_path):
        path, labels, affine = lumbar
        turned, turned_affine = geometry.reorient(np.where(labels > 0, labels + 1, 0).astype(np.uint8), affine, "LPS")
        case = self.score(tmp_path, path, np.ascontiguousarray(turned), turned_affine, "--reference-labels", "verse")
        assert (case["binary_dice"], case["dice"], case["shift"]) == (1, 0, 1)
        assert case["missed"] == ["L2"]
        assert [v["found_as"] for v in case["vertebrae"]] == ["L3", "L4", "L5"]

    @pytest.mark.parametrize("table", ["totalsegmentator", "auto"])
    def test_total_segmentator(self, real_data, tmp_path, table):
        reference = real_data / "ct" / "torso_sm_seg.nii.gz"
        labels, affine = nifti.read_nifti(reference)
        ours = np.zeros(labels.shape, np.uint8)
        for value, name in {30: "L2", 31: "L1", 32: "T12", 33: "T11"}.items():
            ours[labels == value] = BY_NAME[name].nnunet_id
        case = self.score(tmp_path, reference, ours, affine, "--reference-labels", table)
        assert [v["name"] for v in case["vertebrae"]] == ["T11", "T12", "L1", "L2"]
        assert case["dice"] == 1
        assert any("no vertebrae left out" in note for note in case["notes"])


class TestSeveralMethods:
    def test_side_by_side_over_common_cases(self, folders, capsys):
        write(folders / "other" / "a.nii.gz", np.roll(spine(), 1, 0))
        write(folders / "other" / "b.nii.gz", np.roll(spine(), 1, 0))
        write(folders / "ref" / "c.nii.gz")
        write(folders / "pred" / "c.nii.gz")
        arguments = ["-p", f"Conv_LSTM={folders / 'pred'}", "-p", f"V-Net={folders / 'other'}"]
        out = folders / "out"
        assert cli.main(["evaluate", *arguments, "-g", str(folders / "ref"), "-o", str(out), "-np", "1"]) == 1
        captured = capsys.readouterr()
        assert "V-Net: c: " in captured.err
        assert len(evaluation.load(out / "Conv_LSTM")["cases"]) == 3
        assert evaluation.load(out / "V-Net")["method"] == "V-Net"
        rows = list(csv.DictReader((out / "summary.csv").open(encoding="utf-8")))
        dice = {r["method"]: r for r in rows if (r["group"], r["metric"]) == ("scan", "dice")}
        assert {name: (int(r["n"]), float(r["mean"])) for name, r in dice.items()} == {
            "Conv_LSTM": (2, 0.5),
            "V-Net": (2, 0.75),
        }
        assert "Paired differences to Conv_LSTM" in (out / "summary.md").read_text(encoding="utf-8")
        assert "Conv\\_LSTM" in (out / "tables.tex").read_text(encoding="utf-8")

    @pytest.mark.parametrize("values", [["a=pred", "a=other"], ["pred", "b=other"], ["pred", "other"]])
    def test_names_must_tell_them_apart(self, folders, capsys, values):
        arguments = [x for value in values for x in ("-p", value)]
        assert cli.main(["evaluate", *arguments, "-g", str(folders / "ref"), "-o", str(folders / "out")]) == 2
        assert "-p NAME=PATH" in capsys.readouterr().err

    def test_paired_differences_by_hand(self):
        from nnunet_spine.scores import score_case

        def scores(prediction):
            return [score_case(prediction, spine(), AFFINE, case=case) for case in "ab"]

        perfect, rolled = scores(spine()), scores(np.roll(spine(), 1, 0))
        difference = evaluation.paired_differences(rolled, perfect, Settings(bootstrap_draws=20))["dice"]
        assert (difference.count, difference.mean, difference.low, difference.high) == (2, -0.25, -0.25, -0.25)
        with pytest.raises(ValueError, match="same scans"):
            evaluation.paired_differences(rolled, perfect[:1], Settings())
