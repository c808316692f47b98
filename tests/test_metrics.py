"""A metric is one declaration: a made-up one is found in every output, without any other change."""

import csv
import json

import pytest
from cube_spine import AFFINE, LEVELS_SEEN, spine, write
from report_page import Page

from nnunet_spine import cli
from nnunet_spine.errors import InputError
from nnunet_spine.pictures import case_figure
from nnunet_spine.scores import Metric, metrics, score_case

# By hand: a perfect cube of 4^3 voxels of 5 mm has 8000 mm3, one without its last slice 6000 mm3.
MADE_UP = (
    Metric(
        "shrinkage_ml", "Shrinkage", "Reference volume less predicted volume.",
        lambda pair: (pair.reference_voxels - pair.predicted_voxels) * pair.voxel_mm3 / 1000,
        source="Nobody 2099", unit="ml", better="lower", decimals=2, headline=True,
    ),
    Metric("thin", "Thin", "Less than {covering_share:g} of the reference.",
           lambda pair: pair.predicted_voxels < pair.settings.covering_share * pair.reference_voxels,
           yes_no=True, if_missed=True, better="lower"),
    Metric("levels_named", "Levels named", "How many.", lambda scan: len(scan.vertebrae), level="scan", decimals=0),
    Metric("missing_share", "Missing", "Missed of all.", lambda case: (len(case.missed), case.n_reference),
           level="cohort", better="lower", headline=True),
)  # fmt: skip


@pytest.fixture
def declared(monkeypatch):
    monkeypatch.setattr(metrics, "METRICS", (*metrics.METRICS, *MADE_UP))


@pytest.fixture
def evaluated(declared, tmp_path, capsys):
    """Two methods: one perfect, one whose cubes have lost a slice; and the text on the terminal."""
    thin = spine()
    thin[5] = 0
    for case in "ab":
        write(tmp_path / "ref" / f"{case}.nii.gz")
        write(tmp_path / "perfect" / f"{case}.nii.gz")
        write(tmp_path / "thin" / f"{case}.nii.gz", thin)
    common = ["-g", str(tmp_path / "ref"), "-o", str(tmp_path / "out"), "-np", "1"]
    methods = [x for name in ("perfect", "thin") for x in ("-p", f"{name}={tmp_path / name}")]
    assert cli.main(["evaluate", *methods, *common]) == 0
    return tmp_path / "out", capsys.readouterr().out


def test_in_every_file_and_on_the_terminal(evaluated):
    out, terminal = evaluated
    content = json.loads((out / "thin" / "evaluation.json").read_text(encoding="utf-8"))
    assert {m["key"]: m["title"] for m in content["metrics"]}["shrinkage_ml"] == "Shrinkage"
    case = content["cases"][0]
    assert (case["shrinkage_ml"], case["levels_named"], case["thin"]) == (pytest.approx(2), 4, 0.0)
    assert [v["shrinkage_ml"] for v in case["vertebrae"]] == pytest.approx([2] * 4)
    assert content["summary"]["regions"][0]["shrinkage_ml"]["mean"] == pytest.approx(2)
    assert content["summary"]["regions"][0]["thin"]["total"] == 8
    assert (content["summary"]["levels_named"]["mean"], content["summary"]["missing_share"]["count"]) == (4, 0)
    row = next(csv.DictReader((out / "thin" / "cases.csv").open(encoding="utf-8")))
    assert float(row["shrinkage_ml"]) == pytest.approx(2)
    assert next(csv.DictReader((out / "thin" / "vertebrae.csv").open(encoding="utf-8")))["thin"] == "False"
    rows = {
        (r["method"], r["group"], r["metric"]): r["mean"]
        for r in csv.DictReader((out / "summary.csv").open(encoding="utf-8"))
    }
    assert float(rows["thin", "All", "shrinkage_ml"]) == pytest.approx(2)
    assert float(rows["thin", "scan", "shrinkage_ml"]) == pytest.approx(2)
    for folder in (out, out / "thin"):
        for name in ("summary.md", "tables.tex"):
            text = (folder / name).read_text(encoding="utf-8")
            assert "Shrinkage ml" in text
            assert "2.00 ± 0.00" in text.replace(r"$\pm$", "±")
            assert "Reference volume less predicted volume. Missed vertebrae are left out. [Nobody 2099]" in text
            assert "Levels named" in text
            assert "Missing" in text
    comparison = (out / "summary.md").read_text(encoding="utf-8")
    line = next(x for x in comparison.splitlines() if x.startswith("| Shrinkage ml ↓"))
    assert "+2.00 [+2.00, +2.00]" in line
    assert "Shrinkage ml" in terminal
    assert "Missing 0 of 8" in terminal


def test_in_pictures(declared):
    score = score_case(spine(), spine(), AFFINE)
    texts = [text.get_text() for text in case_figure(None, spine(), spine(), AFFINE, score=score).texts]
    assert any("Shrinkage 0.00 ml" in text for text in texts)


def test_on_the_page(evaluated, browser):
    out, _ = evaluated
    assert cli.main(["report", "-e", str(out / "thin"), "--quiet", "-np", "1"]) == 0
    page = Page(browser).open(out / "thin" / "report.html")
    shown = page.run("return document.body.innerText")
    for text in ("Shrinkage", "Thin, %", "Levels named", "Missing", "Reference volume less predicted volume."):
        assert text in shown
    figures = "return [...document.querySelectorAll('.figure')].map((f) => f.textContent)"
    assert any("Shrinkage2.00 ml" in text for text in page.run(figures))
    page.click("#distributions [data-value=shrinkage_ml]")
    assert page.run("return document.querySelector('.chart').getAttribute('aria-label')") == "Shrinkage, ml"
    page.click("th[data-key=levels_named] button")
    page.click("#case-table tbody tr[data-case] td")
    page.wait("return document.getElementById('case').open")
    heads = page.run("return [...document.querySelectorAll('.vertebrae thead th')].map((x) => x.textContent)")
    row = page.run("return [...document.querySelector('.vertebrae tbody tr').cells].map((x) => x.textContent)")
    values = dict(zip(heads, row, strict=True))
    assert (values["Shrinkage, ml"], values["Thin"]) == ("2.00", "no")
    assert values["Level"] == LEVELS_SEEN[0]
    assert page.complaints() == []


def test_on_the_page_of_a_comparison(evaluated, browser):
    out, _ = evaluated
    assert cli.main(["report", "-e", str(out), "--quiet", "-np", "1"]) == 0
    page = Page(browser).open(out / "report.html")
    row = page.run("return document.querySelector('[data-metric=shrinkage_ml]').innerText")
    assert "+2.00" in row
    assert "Reference volume less predicted volume." in page.run("return document.body.innerText")
    page.click("#levels [data-value=shrinkage_ml]")
    assert page.run("return document.querySelector('.chart').getAttribute('aria-label')") == "Shrinkage, ml"
    page.click("#cases [data-value=shrinkage_ml]")
    assert page.run("return [...document.querySelectorAll('#case-table tbody td')].map((x) => x.innerText)") == [
        "0.00", "2.00", "+2.00", "0.00", "2.00", "+2.00",
    ]  # fmt: skip
    assert page.complaints() == []


def test_the_command_prints_every_definition(declared, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["evaluate", "--metrics"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert all(f"{metric.title}: " in out for metric in metrics.METRICS)
    for part in ("pooled", "max-directed", "nnU-Net's summary.json", "Nobody 2099"):
        assert part in out


@pytest.mark.parametrize("metric", metrics.METRICS, ids=lambda metric: metric.key)
def test_every_metric_explains_itself(metric):
    from nnunet_spine.scores import Settings

    text = metric.explain(Settings())
    assert "{" not in text
    assert not text[0].islower()
    assert metrics.find_metric(metric.key) is metrics.find_metric(metric.mean_key) is metric


def test_keys_are_unique():
    keys = [key for metric in metrics.METRICS for key in {metric.key, metric.mean_key}]
    assert len(keys) == len(set(keys))


def test_a_misspelt_declaration_is_refused():
    with pytest.raises(InputError, match="expected vertebra, scan, cohort"):
        Metric("x", "X", "Of x.", lambda pair: 0, level="case")
