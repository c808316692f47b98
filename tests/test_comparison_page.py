"""Several methods on one page."""

import json

import numpy as np
import pytest
from cube_spine import LEVELS_SEEN, spine, write
from report_page import Page

from nnunet_spine import cli
from nnunet_spine.anatomy import BY_NAME
from nnunet_spine.evaluation.comparison import load_comparison


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """Cases a, b, c; the second method has lost L1 in a, is a voxel aside in b, and has not predicted d."""
    root = tmp_path_factory.mktemp("compared")
    lost = np.where(spine() == BY_NAME["L1"].nnunet_id, 0, spine()).astype(np.uint8)
    for case in "abcd":
        write(root / "ref" / f"{case}.nii.gz")
        write(root / "first" / f"{case}.nii.gz")
    for case, labels in {"a": lost, "b": np.roll(spine(), 1, 0), "c": spine()}.items():
        write(root / "second" / f"{case}.nii.gz", labels)
    methods = [x for name in ("first", "second") for x in ("-p", f"{name}={root / name}")]
    arguments = ["evaluate", *methods, "-g", str(root / "ref"), "-o", str(root / "out"), "-np", "1", "--quiet"]
    assert cli.main(arguments) == 1
    return root / "out"


def test_the_record_holds_common_cases_differences_and_failures(compared):
    content = load_comparison(compared)
    assert content["cases"] == ["a", "b", "c"]
    assert content["baseline"] == "first"
    assert [(f["method"], f["case"]) for f in content["failures"]] == [("second", "d")]
    found = content["differences"]["second"]
    # Dice by scan: 3/4, 3/4 and 1; L1 alone: 0, 3/4 and 1
    assert found["All"]["dice"]["mean"] == pytest.approx((-0.25 - 0.25) / 3)
    assert found["L1"]["dice"]["mean"] == pytest.approx((-1 - 0.25) / 3)
    assert found["L1"]["dice"]["low"] <= found["L1"]["dice"]["mean"] <= found["L1"]["dice"]["high"]
    assert found["All"]["all_labels_correct"]["mean"] == pytest.approx(-1 / 3)
    assert "binary_dice" not in found["L1"]
    assert set(found) == {"All", "T", "L", *LEVELS_SEEN}
    json.loads((compared / "comparison.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)


def test_methods_stand_side_by_side_with_their_differences(compared, browser):
    assert cli.main(["report", "-e", str(compared / "second"), "--viewers", "0", "--quiet", "-np", "1"]) == 0
    assert cli.main(["report", "-e", str(compared), "--quiet", "-np", "1"]) == 0
    page = Page(browser).open(compared / "report.html")
    text = page.run("return document.body.innerText")
    assert "3 common scans" in text
    assert "second: d" in text
    assert "NaN" not in text
    cells_of = "return [...document.querySelector(arguments[0]).cells].map((x) => x.innerText)"
    row = page.run(cells_of, "#overall-table [data-metric=dice]")
    assert row[1].startswith("1.000 ± 0.000")
    assert row[3].startswith("−0.167")
    cells = page.run(cells_of, "#level-table [data-group=L1]")
    assert cells[1:3] == ["3", cells[2]]
    assert cells[4].startswith("−0.417")
    for key in ("hd95_mm", "identified", "distance_penalised_mm"):
        page.click(f"#levels [data-value={key}]")
        assert "NaN" not in page.run("return document.querySelector('#levels').innerHTML")
    order = "return [...document.querySelectorAll('#case-table tbody th')].map((x) => x.innerText)"
    assert page.run(order) == ["a", "b", "c"]  # the greatest losses first
    page.click("#case-table thead th:nth-child(3) button")
    page.click("#case-table thead th:nth-child(3) button")
    assert page.run(order) == ["c", "a", "b"]
    page.click("#case-table tbody tr[data-case=b] td:nth-child(3) a")
    page.wait("return document.getElementById('case')?.open")
    assert page.case() == "b"
    assert page.complaints() == []


def test_a_folder_without_either_record_says_what_to_give(compared, tmp_path, capsys):
    assert cli.main(["report", "-e", str(tmp_path)]) == 2
    assert "evaluation.json" in capsys.readouterr().err
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "evaluation.json").write_text("{}", encoding="utf-8")
    assert cli.main(["report", "-e", str(tmp_path)]) == 2
    assert "in unet below. Give one of these" in capsys.readouterr().err


def test_methods_of_different_kinds_are_not_compared(tmp_path, capsys):
    write(tmp_path / "ref" / "a.nii.gz")
    write(tmp_path / "levels" / "a.nii.gz")
    write(tmp_path / "spine" / "a.nii.gz", (spine() > 0).astype(np.uint8))
    (tmp_path / "spine" / "dataset.json").write_text(
        json.dumps({"labels": {"background": 0, "spine": 1}}), encoding="utf-8"
    )
    methods = [x for name in ("levels", "spine") for x in ("-p", f"{name}={tmp_path / name}")]
    arguments = ["evaluate", *methods, "-g", str(tmp_path / "ref"), "-o", str(tmp_path / "out"), "-np", "1"]
    assert cli.main(arguments) == 2
    assert "levels: vertebrae, spine: spine" in capsys.readouterr().err
    assert (tmp_path / "out" / "spine" / "evaluation.json").is_file()


def test_a_phone_scrolls_only_downwards(compared, browser):
    assert cli.main(["report", "-e", str(compared / "comparison.json"), "--quiet", "-np", "1"]) == 0
    page = Page(browser).open(compared / "report.html")
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        assert page.run("return document.documentElement.scrollWidth") <= 390
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
