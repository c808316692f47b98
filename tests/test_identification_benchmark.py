"""The benchmark of naming: what counts as identified, and its way from a file of scans to parameters and tables."""

import gzip
import json

import numpy as np
import pytest
from labelled_spine import spine

from benchmarks import identification, identification_fits
from benchmarks.identification_results import calibration_error, judge, row_by_source
from benchmarks.vid import read_cases, without_estimated
from nnunet_spine.labelling.detections import INDEX
from nnunet_spine.labelling.label import counted
from nnunet_spine.labelling.network import load_model


def stored(first: str, last: str, *, source: str = "verse20", lost: tuple[str, ...] = (), **options) -> dict:
    """A scan as the file has it, in LPS; bodies of some levels are not detected."""
    detections, names = spine(first, last, **options)
    to_lps = np.array([-1, -1, 1])
    points = [(np.array(d.position_mm) * to_lps).round(2).tolist() for d in detections]
    pairs = list(zip(points, names, detections, strict=True))
    return {
        "case": f"{first}-{last}",
        "source": source,
        "truth": [{"xyz": xyz, "part": "body", "level": name} for xyz, name, _ in pairs if name != "S1"],
        "detected": [
            {"xyz": xyz, "part": "body", "p_ctl": list(d.regions)} for xyz, name, d in pairs if name not in lost
        ],
    }


@pytest.fixture
def file(tmp_path):
    scans = [stored(f"T{1 + i % 9}", f"L{1 + i % 5}", source=["verse19", "COLONOG"][i % 2]) for i in range(20)]
    path = tmp_path / "scans.json.gz"
    path.write_bytes(gzip.compress(json.dumps(scans).encode("utf-8")))
    return path


def case_of(tmp_path, scan: dict):
    path = tmp_path / "scan.json"
    path.write_text(json.dumps([scan]), encoding="utf-8")
    return read_cases(path)[0]


def states(case, names: list[str]) -> np.ndarray:
    assert len(names) == len(case.scan)
    return np.array([INDEX[name] for name in names])


def test_names_are_judged_against_all_reference_bodies_and_against_the_detected_ones(tmp_path):
    case = case_of(tmp_path, stored("T10", "L3", lost=("T10",)))  # five of six bodies
    right = judge(case, counted(case.scan, states(case, ["T11", "T12", "L1", "L2", "L3"]), ""))
    assert (right.reference, right.detected, right.identified, right.all_correct) == (6, 5, 5, False)
    shifted = judge(case, counted(case.scan, states(case, ["T12", "L1", "L2", "L3", "L4"]), ""))
    assert (shifted.detected, shifted.identified) == (5, 0)


def test_a_body_below_the_reference_is_told_apart(tmp_path):
    case = case_of(tmp_path, stored("L3", "L5", sacrum=True))
    for name in ("S1", "L6"):
        result = judge(case, counted(case.scan, states(case, ["L3", "L4", "L5", name]), ""))
        assert result.all_correct and result.lowest == "L5" and result.below == name
        assert result.called_l6 == (name == "L6")


def test_what_pedicles_alone_show_can_be_left_out(tmp_path):
    scan = stored("T10", "L3", lost=("T12",))
    x, y, z = next(p["xyz"] for p in scan["truth"] if p["level"] == "T12")
    scan["detected"] += [
        {"xyz": [x + side * 15, y + 22, z + 6], "part": part} for part, side in (("left", 1), ("right", -1))
    ]
    case = case_of(tmp_path, scan)
    assert len(case.scan) == 6 and case.scan.estimated.sum() == 1
    assert len(without_estimated(case).scan) == 5


def test_calibration_error_of_a_hand_computed_example():
    # bin 0.5: stated 1.1, right 1; bin 0.9: stated 0.95, right 0
    assert calibration_error(np.array([0.55, 0.55, 0.95]), np.array([True, False, False])) == pytest.approx(1.05 / 3)


def test_counting_is_all_right_on_spines_with_a_boundary(file):
    cases = read_cases(file)
    nothing, prices = [None] * len(cases), [None] * len(cases)
    results = identification.Judge(1)(identification.counting, cases, nothing, prices)
    assert all(r.all_correct for r in results)
    line = row_by_source("counting", results)
    assert line.count("100.0 (100.0-100.0)") == 6  # two of all scans, two of either source


def test_from_scans_to_parameters_and_tables_and_on_after_an_interruption(file, tmp_path, monkeypatch, capsys):
    pytest.importorskip("torch")
    from nnunet_spine.labelling import fit

    for name, value in (("ROUNDS", 1), ("MADE_UP", 8), ("PRICED", 4)):
        monkeypatch.setattr(identification_fits, name, value)
    out, keep = tmp_path / "out.npz", tmp_path / "kept"
    arguments = [str(file), "--fit", str(out), "--epochs", "1", "--keep", str(keep)]
    identification.main(arguments)
    assert "5 networks" in capsys.readouterr().out
    model = load_model(out)
    assert len(model.members) == 5
    (keep / "fold3-0.npz").unlink()
    fitted = []
    monkeypatch.setattr(fit, "fit_network", lambda *a: fitted.append(a) or dict(model.members[3]))
    identification.main(arguments)
    assert len(fitted) == 1  # only the network that was missing
    capsys.readouterr()
    again = tmp_path / "again.npz"
    identification.main([str(file), "--out-of-fold", "--model", str(out), "--fit", str(again)])
    assert len(fitted) == 1 and load_model(again).members[2].keys() == model.members[2].keys()
    printed = capsys.readouterr().out
    for line in ("### Learned score, out of fold", "| learned, greedy from head to foot |", "| hand-tuned chain |"):
        assert line in printed
