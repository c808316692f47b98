"""Tables of an evaluation, read back."""

import csv
import io
import re

import numpy as np
import pytest
from cube_spine import AFFINE, LEVELS_SEEN, spine

from nnunet_spine import evaluation
from nnunet_spine.evaluation import Method, Table, metric_tables, paper_tables, write
from nnunet_spine.evaluation.cells import mean_sd, number, rate_interval
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
    methods = [Method("A_1", summary, {"young": summarise_cohort(cases[:1])}), Method("B", summary, {"young": summary})]
    found = metric_tables(methods, Settings(), "native") + paper_tables(methods)
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
    for source in ("Masuzawa et al., segmentation", "Masuzawa et al., localisation", "Sekuboyina et al., Table 1",
                   "Sekuboyina et al., Table 2", "Mita et al., Table 1", "Hempe and Heinrich, Table 1"):  # fmt: skip
        assert f"Layout of {source}" in captions
    assert not any("ayout" in tables[key].caption for key in ("segmentation", "identification", "scans"))  # ours


def test_sekuboyina_s_tables_hold_the_dice_of_the_entire_spine(cases, tables):
    header, rows = read_markdown(evaluation.to_markdown(tables["sekuboyina_1"]))
    assert header == ["data set", "scans", "A_1", "B"]
    both = "100.0 ± 0.0"  # a shift by a level leaves the spine as it is
    assert rows == [["young", "1", "100.0", both], ["all", "2", both, both]]
    header, rows = read_markdown(evaluation.to_markdown(tables["sekuboyina_2"]))
    assert (header, rows) == (["method", "young"], [["A_1", "100.0"], ["B", both]])
    keys = [table.key for table in paper_tables([Method("", summarise_cohort(cases))])]
    assert "sekuboyina_2" not in keys  # there are no groups


def test_captions_state_number_and_centre(tables):
    for table in tables.values():
        assert "n = 2 scans with 8 reference vertebrae" in table.caption
    assert "centroid of the" in tables["identification"].caption


def test_definitions_state_rules_penalty_and_the_way_of_nnunet():
    text = " ".join(evaluation.definitions(Settings(miss_penalty_mm=50, nsd_tolerance_mm=2, hd95="max-directed")))
    for part in ("counts as 50 mm", "VerSe's script", "Glocker et al. 2012", "within 20 mm", "within 2 mm", "in voxels",
                 "percentile of those distances, max-directed", "nnU-Net's summary.json"):  # fmt: skip
        assert part in text


def test_values_by_hand(tables):
    header, rows = read_markdown(evaluation.to_markdown(tables["identification"]))
    row = dict(zip(header, rows[0], strict=True))
    assert (row["method"], row["region"], row["n"], row["missed"], row["surplus"]) == ("A_1", "all", "8", "1", "1")
    assert row["Localisation error, all mm"].startswith(f"{(3 * 30 + 1000) / 8:.1f} ±")
    assert row["Identified %"] == "50.0 [0.0, 100.0]"
    cervical = dict(zip(header, rows[1], strict=True))
    assert (cervical["n"], cervical["Localisation error mm"], cervical["Identified (Glocker) %"]) == ("0", "–", "–")
    header, rows = read_markdown(evaluation.to_markdown(tables["mita"]))
    assert (header, rows[0]) == (["method", "L1", "L2", "lumbar"], ["A_1", "0.500", "0.500", "0.500"])
    header, rows = read_markdown(evaluation.to_markdown(tables["hempe"]))
    assert rows[1] == ["B", "50.0 ± 70.7", "100.0 ± 0.0"]
    header, rows = read_markdown(evaluation.to_markdown(tables["scans"]))
    row = dict(zip(header, rows[1], strict=True))
    assert (row["method"], row["group"], row["scans"]) == ("A_1", "all", "2")
    assert (row["All labels correct %"], row["Label precision %"]) == ("50.0 [0.0, 100.0]", "50.0 [0.0, 100.0]")
    header, rows = read_markdown(evaluation.to_markdown(tables["segmentation_levels"]))
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
    (first, *_) = metric_tables([Method("", summarise_cohort(cases))], Settings(), "1mm")
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
    z = float(surplus["predicted_centre_mm_z"])
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
    assert by_key["scan", "all_labels_correct"]["interval"] == "bootstrap over scans"


def test_an_interval_that_no_bootstrap_can_tell_is_starred_and_explained(cases):
    (_, identification, scans, *_) = metric_tables([Method("", summarise_cohort(cases[:1] * 8))], Settings(), "native")
    row = dict(zip(identification.header, identification.rows[0], strict=True))
    assert row["Identified %"] == "100.0 [63.1, 100.0]*"
    row = dict(zip(scans.header, scans.rows[0], strict=True))
    assert row["All labels correct %"] == "100.0 [63.1, 100.0]*"
    assert all("Clopper-Pearson" in table.caption for table in (identification, scans))


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
    methods = [Method("", summary)]
    for table in metric_tables(methods, Settings(), "native") + paper_tables(methods):
        assert "n = 0 scans" in table.caption
        assert "None" not in evaluation.to_markdown(table)


def test_reference_without_masks_has_no_overlap_columns_filled():
    from nnunet_spine.anatomy import BY_NAME
    from nnunet_spine.scores import score_centres

    score = score_centres(spine(), AFFINE, {BY_NAME["L1"].nnunet_id: np.zeros(3)}, case="points")
    (first, *_) = metric_tables([Method("", summarise_cohort([score]))], Settings(), "native")
    assert dict(zip(first.header, first.rows[0], strict=True))["Dice"] == "–"
