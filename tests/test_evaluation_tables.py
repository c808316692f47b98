"""Tables of an evaluation, read back."""

import csv
import io
import re

import numpy as np
import pytest
from cube_spine import AFFINE, LEVELS_SEEN, spine

from nnunet_spine import evaluation
from nnunet_spine.evaluation import Method, Table, paper_tables, write
from nnunet_spine.evaluation.layouts import mean_sd, number, rate_interval
from nnunet_spine.evaluation.table import latex_text, markdown_grid
from nnunet_spine.scores import Rate, Settings, Summary, score_case, summarise_cohort


@pytest.fixture(scope="module")
def cases():
    shifted = spine(("T12", "L1", "L2", "L3"))
    return [
        score_case(spine(), spine(), AFFINE, case="good"),
        score_case(shifted, spine(), AFFINE, case="shifted|by_one", notes=["odd, but true"]),
    ]


@pytest.fixture(scope="module")
def tables(cases):
    summary = summarise_cohort(cases)
    found = paper_tables([Method("A_1", summary), Method("B", summary)], Settings(), "native")
    return {table.key: table for table in found}


def read_markdown(text):
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(line) for line in lines}) == 1  # aligned
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return rows[0], rows[2:]


def read_latex(text):
    body = re.search(r"\\toprule\n(.*)\n\\bottomrule", text, re.DOTALL)[1]
    lines = [line.removesuffix(r" \\") for line in body.splitlines() if line != r"\midrule"]
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)&", line)] for line in lines]
    return rows[0], rows[1:]


def test_layouts_of_all_papers_are_there(tables):
    captions = " ".join(table.caption for table in tables.values())
    for source in ("Masuzawa et al., Table 1", "Masuzawa et al., Table 2", "Sekuboyina et al., Table 1",
                   "Sekuboyina et al., Table 2", "Mita et al., Table 1", "Hempe and Heinrich, Table 1"):  # fmt: skip
        assert f"layout after {source}" in captions


def test_captions_state_number_rule_and_penalty(tables):
    for table in tables.values():
        assert "n = 2 scans with 8 reference vertebrae" in table.caption
    caption = tables["identification"].caption
    for part in (
        "1000 mm for a missed one",
        "VerSe's script",
        "Glocker et al. 2012",
        "within 20 mm",
        "centroid of the",
    ):
        assert part in caption


def test_values_by_hand(tables):
    header, rows = read_markdown(evaluation.to_markdown(tables["identification"]))
    row = dict(zip(header, rows[0], strict=True))
    assert (row["method"], row["region"], row["n"], row["missed"], row["surplus"]) == ("A_1", "all", "8", "1", "1")
    assert row["d_mean all mm"] == f"{(3 * 30 + 1000) / 8:.1f}"
    assert row["id VerSe %"].startswith("50.0 [0.0, 100.0]")
    cervical = dict(zip(header, rows[1], strict=True))
    assert (cervical["n"], cervical["d_mean hits mm"], cervical["id Glocker %"]) == ("0", "–", "–")
    header, rows = read_markdown(evaluation.to_markdown(tables["iou_lumbar"]))
    assert (header, rows[0]) == (["method", "L1", "L2", "lumbar"], ["A_1", "0.500", "0.500", "0.500"])
    header, rows = read_markdown(evaluation.to_markdown(tables["dice_multilabel"]))
    assert rows[1] == ["B", "50.0 ± 53.5", "50.0 ± 70.7", "100.0 ± 0.0", "1/2"]
    header, rows = read_markdown(evaluation.to_markdown(tables["levels"]))
    assert [row[1] for row in rows[:5]] == [*LEVELS_SEEN, "L3"]


def test_latex_holds_the_same_cells(tables):
    for table in tables.values():
        text = evaluation.to_latex(table)
        header, rows = read_latex(text)
        assert header == [latex_text(cell) for cell in table.header]
        assert rows == [[latex_text(cell) for cell in row] for row in table.rows]
        columns = re.search(r"\\begin\{tabular\}\{(l+r+)\}", text)[1]
        assert len(columns) == len(table.header)
        assert columns.count("l") == table.n_names
        for bare in ("±", "–", "nan", "None"):
            assert bare not in text
        assert text.count("{") == text.count("}")
        assert not re.search(r"(?<!\\)[%#_]", text.replace(r"\label{tab:" + table.key, ""))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a_b & 5 %", r"a\_b \& 5 \%"),
        ("1 ± 2", r"1 $\pm$ 2"),
        ("–", "--"),
        (r"C:\x{1}^2~$#", r"C:\textbackslash{}x\{1\}\textasciicircum{}2\textasciitilde{}\$\#"),
    ],
)
def test_latex_escapes(text, expected):
    assert latex_text(text) == expected


def test_markdown_escapes_bars():
    _, rows = read_markdown(markdown_grid(["name", "x"], [["a|b", "1"]]))
    assert rows == [[r"a\|b", "1"]]


def test_table_without_rows():
    table = Table("t", "Nothing.", ("a", "b"), ())
    assert read_markdown(evaluation.to_markdown(table)) == (["a", "b"], [])


def test_missing_values():
    nothing = Summary(0, 3, None, None, None)
    assert (number(None, 2), mean_sd(nothing, 2), rate_interval(Rate(0, 0, None))) == ("–", "–", "–")
    assert mean_sd(Summary(1, 0, 0.5, None, 0.5), 1, 100) == "50.0"


def test_one_method_is_not_named_in_regions(cases):
    (first, *_) = paper_tables([Method("", summarise_cohort(cases))], Settings(), "1mm")
    assert first.header[0] == "region"
    assert "1 mm isotropic grid" in first.caption


def test_csv_of_cases_and_vertebrae_parse_back(cases):
    good, shifted = csv.DictReader(io.StringIO(write.cases_csv(cases, Settings())))
    assert (good["dice"], good["missed"], good["all_labels_correct"]) == ("1.0", "", "True")
    assert (shifted["case"], shifted["notes"], shifted["shift"]) == ("shifted|by_one", "odd, but true", "1")
    assert float(shifted["localisation_error_penalised_mm"]) == pytest.approx((3 * 30 + 1000) / 4)
    rows = list(csv.DictReader(io.StringIO(write.vertebrae_csv(cases))))
    assert len(rows) == 4 + 4 + 1
    missed = next(r for r in rows if r["case"] != "good" and r["name"] == "T11")
    assert (missed["missed"], missed["distance_mm"], missed["found_as"]) == ("True", "", "T12")
    surplus = rows[-1]
    assert (surplus["kind"], surplus["name"], surplus["found_as"]) == ("surplus", "L3", "L2")
    assert float(surplus["predicted_mm3"]) == pytest.approx(20**3)
    z = float(surplus["predicted_center_mm_z"])
    assert z == pytest.approx(-300 + 5 * 2.5)


def test_csv_of_the_summary_parses_back(cases):
    summary = summarise_cohort(cases)
    rows = list(csv.DictReader(io.StringIO(write.summary_csv([Method("m", summary)]))))
    by_key = {(r["group"], r["metric"]): r for r in rows}
    assert len(by_key) == len(rows)
    dice = by_key["All", "dice"]
    assert (dice["n"], float(dice["mean"])) == ("8", 0.5)
    assert float(by_key["L3", "surplus"]["n"]) == 1
    assert by_key["C", "dice"]["mean"] == ""
    assert float(by_key["scan", "all_labels_correct"]["mean"]) == 0.5


def test_cases_are_sorted_by_suspicion(cases):
    header, rows = read_markdown(write.case_table(cases))
    assert [row[0] for row in rows] == [r"shifted\|by_one", "good"]
    assert dict(zip(header, rows[0], strict=True))["shift"] == "+1"


def test_long_tables_say_what_they_leave_out(cases):
    text = write.case_table(cases, most=1)
    assert [row[0] for row in read_markdown(text)[1]] == [r"shifted\|by_one"]
    assert text.endswith("and 1 more")


def test_nothing_scored():
    summary = summarise_cohort([])
    for table in paper_tables([Method("", summary)], Settings(), "native"):
        assert "n = 0 scans" in table.caption
        assert "None" not in evaluation.to_markdown(table)


def test_reference_without_masks_has_no_overlap_columns_filled():
    from nnunet_spine.anatomy import BY_NAME
    from nnunet_spine.scores import score_centers

    score = score_centers(spine(), AFFINE, {BY_NAME["L1"].nnunet_id: np.zeros(3)}, case="points")
    (first, *_) = paper_tables([Method("", summarise_cohort([score]))], Settings(), "native")
    assert dict(zip(first.header, first.rows[0], strict=True))["Dice"] == "–"
