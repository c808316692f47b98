"""The report: its encodings, what is embedded, and the page in a real browser."""

import gzip
import io
import json
import os
import re
import shlex
import shutil
import struct
import time
from urllib.parse import quote

import nibabel as nib
import numpy as np
import pytest
from evaluated_folder import AFFINE as BLOCKS_AFFINE
from evaluated_folder import LEVELS, NASTY, EvaluatedFolder, blocks, evaluate_folder, evaluated_folder
from PIL import Image
from report_page import Page

from nnunet_spine.anatomy import BY_NAME, dataset_labels
from nnunet_spine.cli import main
from nnunet_spine.errors import InputError
from nnunet_spine.evaluation import score_from_dict
from nnunet_spine.geometry import reorient
from nnunet_spine.io.files import read_json, write_json
from nnunet_spine.io.nifti import read_nifti, write_nifti
from nnunet_spine.jobs import Processes, Run, Workplace
from nnunet_spine.meshes import Mesh
from nnunet_spine.report import ReportOptions, build_report, encode, page, views
from nnunet_spine.scores import metrics, summarise_cohort


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> EvaluatedFolder:
    return evaluate_folder(evaluated_folder(tmp_path_factory.mktemp("cohort")))


@pytest.fixture(scope="module")
def built(cohort, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    return build_report(cohort.evaluation, path, ReportOptions(viewers=None))


@pytest.fixture(scope="module")
def light(cohort, tmp_path_factory):
    """The same without viewers."""
    return build_report(cohort.evaluation, tmp_path_factory.mktemp("light") / "report.html", ReportOptions(viewers=0))


def embedded(path) -> dict:
    return json.loads(re.search(r'id="report-data">(.*?)</script>', path.read_text(encoding="utf-8"), re.DOTALL)[1])


def blobs(path) -> set[str]:
    return set(re.findall(r'data-blob="([\w-]+)">', path.read_text(encoding="utf-8")))


def without(folder: EvaluatedFolder, tmp_path, change) -> EvaluatedFolder:
    """A copy of the cohort on which `change(copy, content of evaluation.json)` was called."""
    copy = EvaluatedFolder(tmp_path / "copy")
    shutil.copytree(folder.root, copy.root)
    content = read_json(copy.evaluation)
    change(copy, content)
    write_json(copy.evaluation, content)
    return copy


# --- encodings


def test_a_picture_is_made_small_enough():
    noise = np.random.default_rng(0).integers(0, 256, (600, 2000, 4), np.uint8)
    flat = np.zeros((100, 3000, 3), np.uint8)
    assert len(encode.picture_bytes(flat)) < encode.PICTURE_BYTES
    assert Image.open(io.BytesIO(encode.picture_bytes(flat))).size == (1800, 60)
    small = encode.picture_bytes(noise)
    assert len(small) <= encode.PICTURE_BYTES
    assert Image.open(io.BytesIO(small)).width < 1800  # noise does not compress


@pytest.mark.parametrize("codes", ["RAS", "PIR"])
def test_a_small_volume_lies_where_the_large_one_does(codes):
    labels = np.zeros((40, 60, 50), np.uint8)
    labels[10:20, 20:40, 20:32] = 5
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = (-7, 3, 11)
    turned, turned_affine = reorient(labels, affine, codes)
    grid = encode.SmallGrid.around([turned], turned_affine)
    small = nib.Nifti1Image.from_bytes(
        gzip.decompress(encode.nifti_bytes(grid.middle(turned, turned_affine), grid.affine))
    )
    assert np.allclose(small.header.get_zooms(), 2)
    found = nib.affines.apply_affine(small.affine, np.argwhere(np.asarray(small.dataobj) == 5).mean(0))
    assert np.allclose(found, np.array([14.5, 29.5, 25.5]) + affine[:3, 3], atol=0.51)
    assert (np.asarray(small.dataobj) == 5).sum() == 5 * 10 * 6


def test_hounsfield_units_survive_within_a_grey_value():
    hu = np.array([-2000.0, -400, 0, 300, 1200, np.nan]).reshape(6, 1, 1)
    image = nib.Nifti1Image.from_bytes(gzip.decompress(encode.image_bytes(hu, np.eye(4))))
    assert np.allclose(image.get_fdata().ravel(), [-400, -400, 0, 300, 1200, -400], atol=3.2)


def test_a_volume_beyond_the_budget_gets_coarser():
    grid = encode.SmallGrid.around([np.zeros((200, 200, 200), np.uint8)], np.diag([2.0, 2, 2, 1]))
    assert np.all(grid.step == 2)
    assert np.prod((grid.box[:, 1] - grid.box[:, 0]) // grid.step) <= encode.VOLUME_VOXELS


def test_meshes_can_be_read_back():
    mesh = Mesh(
        np.array([[0, 0, 0], [10, 0, 0], [0, 20, 0]], np.float32), np.array([[0, 1, 2]], np.int32),
        np.array([-1, 0, 2.5], np.float32),
    )  # fmt: skip
    raw = gzip.decompress(encode.meshes_bytes({"prediction": {"T5": mesh}}))
    (length,) = struct.unpack("<I", raw[:4])
    head = json.loads(raw[4 : 4 + length])
    assert head["meshes"] == [{"map": "prediction", "level": "T5", "vertices": 3, "faces": 1, "deviation": True}]
    planes = np.frombuffer(raw[4 + length :], np.uint8).reshape(4, -1)
    values = np.cumsum(np.ascontiguousarray(planes.T).view("<i4").ravel())
    x, y, z = values[:9].reshape(3, 3) * head["step_mm"]
    assert np.allclose(x - x[0], [0, 10, 0], atol=0.11)
    assert np.allclose(y - y[0], [0, 0, 20], atol=0.11)
    assert np.allclose(z, 0)
    assert values[9:12].tolist() == [0, 1, 2]
    assert np.allclose(values[12:] * head["step_mm"], [-1, 0, 2.5])


def test_json_cannot_end_its_script_element():
    text = page.json_text({"case": "</script><b>"})
    assert "<" not in text
    assert json.loads(text) == {"case": "</script><b>"}


def test_numbers_that_do_not_exist_are_refused_rather_than_written():
    with pytest.raises(ValueError):
        page.json_text({"dice": float("nan")})


# --- what is embedded


def test_only_the_most_suspicious_cases_and_the_named_ones_get_viewers(cohort, tmp_path):
    path = tmp_path / "report.html"
    report = build_report(cohort.evaluation.parent, path, ReportOptions(viewers=1, cases=("perfect",)))
    cases = {case["case"]: case for case in embedded(path)["cases"]}
    assert {name for name, case in cases.items() if case["viewer"]} == {"shifted", "perfect"}
    assert all(case["picture"] for case in cases.values())
    assert report.viewers == 2
    assert report.size_bytes == path.stat().st_size


def test_without_viewers_the_library_is_left_out(light):
    assert {name.split("-")[0] for name in blobs(light.path)} == {"picture"}
    assert light.size_bytes < 1_000_000


def test_the_page_asks_no_server_for_anything(built):
    text = re.sub(
        r'<script type="application/octet-stream.*?</script>',
        "",
        built.path.read_text(encoding="utf-8"),
        flags=re.DOTALL,
    )
    assert not re.findall(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//|@import|fetch\(""", text)
    assert "default-src 'none'" in text


def test_files_that_are_gone_are_named_and_the_rest_is_shown(cohort, tmp_path):
    def change(copy, content):
        (copy.predictions / "missed.nii.gz").unlink()
        (copy.images / "shifted_0000.nii.gz").unlink()
        (copy.images / "perfect_0000.nii.gz").write_bytes(b"no NIfTI")

    copy = without(cohort, tmp_path, change)
    report = build_report(copy.evaluation, tmp_path / "report.html", ReportOptions(viewers=None))
    assert set(report.problems) == {"missed", "shifted", "perfect"}
    assert "prediction is gone" in report.problems["missed"][0]
    assert "CT is gone" in report.problems["shifted"][0]
    assert "perfect_0000.nii.gz" in report.problems["perfect"][0]
    cases = {case["case"]: case for case in embedded(report.path)["cases"]}
    assert [cases[name]["viewer"] for name in ("missed", "shifted", "perfect", NASTY)] == [False, True, True, True]


def test_a_case_whose_files_changed_since_the_evaluation_is_not_shown_beside_its_old_numbers(cohort, tmp_path):
    def change(copy, content):
        labels, affine = read_nifti(copy.predictions / "perfect.nii.gz")
        write_nifti(copy.predictions / "perfect.nii.gz", np.roll(labels, 6, 2), affine)
        for name in ("missed", "shifted"):
            os.utime(copy.predictions / f"{name}.nii.gz")  # the same as before

    copy = without(cohort, tmp_path, change)
    report = build_report(copy.evaluation, tmp_path / "report.html", ReportOptions(viewers=None))
    assert report.problems == {
        "perfect": ("The prediction has changed since the evaluation: evaluate again to see it.",)
    }
    cases = {case["case"]: case for case in embedded(report.path)["cases"]}
    assert not cases["perfect"]["picture"] and not cases["perfect"]["viewer"]
    assert cases["missed"]["viewer"] and cases["shifted"]["viewer"]


def test_a_case_whose_reference_has_centres_only(built):
    points = next(case for case in embedded(built.path)["cases"] if case["case"] == "points")
    assert points["maps"] == ["prediction"]
    assert not points["deviation"]


def test_unknown_case_names_are_refused_with_a_hint(cohort, tmp_path):
    with pytest.raises(InputError, match="Did you mean perfect"):
        build_report(cohort.evaluation, tmp_path / "report.html", ReportOptions(cases=("perfekt",)))
    assert list(tmp_path.iterdir()) == []


def test_the_command_states_size_and_viewers(cohort, tmp_path, capsys):
    path = tmp_path / "page.html"
    arguments = ["report", "-e", str(cohort.evaluation), "-o", str(path), "--viewers", "0", "--quiet", "-np", "1"]
    assert main(arguments) == 0
    size = path.stat().st_size / 1e6
    assert capsys.readouterr().out.strip() == f"{path} ({size:.1f} MB, 0 cases with slices and surfaces)"


def test_the_command_refuses_what_is_no_evaluation(tmp_path, capsys):
    write_json(tmp_path / "x.json", {"a": 1})
    assert main(["report", "-e", str(tmp_path / "x.json")]) == 2
    assert "nnunet-spine evaluate" in capsys.readouterr().err


@pytest.mark.slow
def test_worker_processes_make_the_same_page(cohort, built, tmp_path):
    whole = ReportOptions(viewers=None)
    report = build_report(cohort.evaluation, tmp_path / "report.html", whole, Run(Processes(2)))
    assert report.path.read_bytes() == built.path.read_bytes()
    assert list(tmp_path.iterdir()) == [report.path]


def test_parts_make_the_same_page_and_the_last_one_writes_it(cohort, light, tmp_path, capsys):
    path = tmp_path / "report.html"
    arguments = ["report", "-e", str(cohort.evaluation), "-o", str(path), "--viewers", "0", "-np", "1"]
    assert main([*arguments, "-num_parts", "2", "-part_id", "1"]) == 0
    assert not path.exists()
    assert f"part 1 of 2 drawn; {path} waits for 3 cases of other parts" in capsys.readouterr().out
    assert main([*arguments, "-num_parts", "2", "-part_id", "0"]) == 0
    assert path.read_bytes() == light.path.read_bytes()
    assert list(tmp_path.iterdir()) == [path]


def test_what_an_interrupted_run_has_drawn_is_not_drawn_again(cohort, light, tmp_path, monkeypatch):
    drawn = []
    original = views.make_views

    def spy(job):
        drawn.append(job.case)
        if len(drawn) == 3:
            raise KeyboardInterrupt
        return original(job)

    monkeypatch.setattr("nnunet_spine.report.build.make_views", spy)
    path = tmp_path / "report.html"
    with pytest.raises(KeyboardInterrupt):
        build_report(cohort.evaluation, path, ReportOptions(viewers=0))
    build_report(cohort.evaluation, path, ReportOptions(viewers=0))
    assert (len(drawn), drawn[2]) == (6, drawn[3])
    assert path.read_bytes() == light.path.read_bytes()


def test_pages_of_two_evaluations_do_not_mix(cohort, tmp_path):
    pytest.importorskip("fcntl")
    busy = Workplace(tmp_path / ".partial-report.html", "another page")
    with busy.entered(), pytest.raises(InputError, match="another run with other options"):
        build_report(cohort.evaluation, tmp_path / "report.html", ReportOptions(viewers=0))


def test_a_case_that_cannot_be_drawn_is_on_the_page_without_pictures(cohort, tmp_path, monkeypatch, capsys):
    original = views.make_views

    def fails_once(job):
        if job.case == "shifted":
            raise ZeroDivisionError("no luck")
        return original(job)

    monkeypatch.setattr("nnunet_spine.report.build.make_views", fails_once)
    path = tmp_path / "report.html"
    arguments = ["-e", str(cohort.evaluation), "-o", str(path), "--viewers", "0", "--quiet", "-np", "1"]
    assert main(["report", *arguments]) == 1
    assert "nnunet-spine report: shifted: ZeroDivisionError: no luck" in capsys.readouterr().err
    cases = {case["case"]: case for case in embedded(path)["cases"]}
    assert [cases[name]["picture"] for name in ("shifted", "perfect")] == [False, True]
    assert "Not drawn: ZeroDivisionError" in cases["shifted"]["problems"][0]


# --- in a browser


@pytest.fixture
def opened(browser, built) -> Page:
    return Page(browser).open(built.path)


def test_it_shows_the_cohort_and_the_failure(opened):
    text = opened.run("return document.body.innerText")
    assert "5 scans" in text
    assert "1 case could not be evaluated" in text
    assert "forgotten" in text
    assert "Identification radius, mm" in text
    # 35 vertebrae: 7 shifted and 1 missed are not identified
    script = "return [...document.querySelectorAll('.figure')].map((f) => [...f.children].map((x) => x.textContent))"
    figures = {label: value for label, value, _ in opened.run(script)}
    assert figures["Identified"] == "77.1 %"
    assert opened.complaints() == []


def test_the_most_suspicious_case_comes_first(opened):
    assert opened.names() == ["forgotten", "shifted", "missed", NASTY, "perfect", "points"]
    assert opened.run("return document.querySelector('th[aria-sort]').dataset.key") == "suspicion"


@pytest.mark.parametrize(
    ("key", "values"),
    [("case", None), ("suspicion", 1), ("findings", None), ("levels", None),
     *((metric.mean_key, 4 + k) for k, metric in enumerate(m for m in metrics.METRICS if m.paired))],
)  # fmt: skip
def test_every_column_sorts_both_ways(opened, key, values):
    button = f"th[data-key={key}] button"
    directions = set()
    for _ in range(2):
        opened.click(button)
        direction = opened.run(f"return document.querySelector('th[data-key={key}]').getAttribute('aria-sort')")
        directions.add(direction)
        if values is not None and key != "all_labels_correct":
            cells = opened.run(
                "return [...document.querySelectorAll('#case-table tbody tr[data-case]')]"
                f".map((row) => row.cells[{values}].textContent)"
            )
            numbers = [float(cell) for cell in cells if cell != "–"]
            assert numbers == sorted(numbers, reverse=direction == "descending")
            assert "–" not in cells[: len(numbers)]
        if key == "case":
            names = opened.names()
            assert names[:: 1 if direction == "ascending" else -1] == [NASTY, "forgotten", "missed", "perfect",
                                                                       "points", "shifted"]  # fmt: skip
    assert directions == {"ascending", "descending"}


def test_filters_by_finding_and_by_name(opened):
    expected = {"wrong": ["shifted"], "missed": ["shifted", "missed"], "surplus": ["shifted"],
                "low": ["shifted", "missed", NASTY], "failures": ["forgotten"]}  # fmt: skip
    for key, names in expected.items():
        opened.click(f"[data-filter={key}]")
        assert opened.names() == names
        assert opened.run(f"return document.querySelector('[data-filter={key}] .count').textContent") == str(len(names))
    opened.click("[data-filter=all]")
    opened.driver.find_element("id", "search").send_keys("MISS")
    assert opened.names() == ["missed"]
    assert "1 of 6" in opened.run("return document.getElementById('shown').textContent")


def test_a_case_opens_by_click_and_escape_closes_it(opened):
    opened.click("#case-table tbody tr[data-case] td")
    opened.wait("return document.getElementById('stage')?.dataset.ready === 'picture'")
    assert opened.case() == "shifted"
    assert opened.driver.current_url.endswith("#case=shifted")
    assert opened.run("return document.querySelector('.stage img').naturalWidth") > 500
    assert "shifted +1" in opened.run("return document.querySelector('.case-title').innerText")
    marks = opened.run("return [...document.querySelectorAll('.vertebrae tbody tr')].map((r) => r.cells[1].innerText)")
    assert marks[0] == "named T11"
    assert marks[-1] == "surplus, on L4"
    opened.press("ESCAPE")
    opened.wait("return !location.hash")
    assert opened.case() is None
    assert opened.complaints() == []


def test_a_case_opens_by_keyboard_and_arrows_go_on(opened):
    opened.run("document.querySelector('#case-table tbody tr[data-case] a').focus()")
    opened.press("ENTER")
    opened.wait("return document.getElementById('case').open")
    opened.press("ARROW_RIGHT")
    opened.wait("return document.getElementById('case-name').textContent === 'missed'")
    opened.press("ARROW_LEFT")
    opened.wait("return document.getElementById('case-name').textContent === 'shifted'")
    opened.press("ESCAPE")
    opened.wait("return document.activeElement.textContent === 'shifted'")
    assert opened.case() is None


def test_a_link_leads_to_a_case(browser, built):
    page_ = Page(browser).open(built.path, "#case=missed")
    assert page_.case() == "missed"


def test_a_point_of_the_distributions_opens_its_case(opened):
    opened.run("document.querySelector('.point').dispatchEvent(new MouseEvent('click', {bubbles: true}))")
    opened.wait("return document.getElementById('case').open")
    assert opened.case() in {"shifted", "missed", "perfect", NASTY}


def test_missed_vertebrae_are_counted_under_the_distances_and_nothing_is_nan(opened):
    for metric in metrics.vertebra_metrics():
        opened.click(f"#distributions [data-value={metric.key}]")
        chart = opened.run("return document.querySelector('.chart').outerHTML")
        assert "NaN" not in chart
        assert ("missed-count" in chart) == (metric.if_missed is None)
    assert "NaN" not in opened.run("return document.body.innerText")


def test_surfaces_and_deviation_are_drawn_and_turn(opened):
    opened.run("location.hash = 'case=missed'")
    opened.wait("return document.getElementById('case').open")
    opened.view("surfaces")
    opened.wait("return document.querySelectorAll('.level-name').length === 13")  # 7 true, 6 predicted
    time.sleep(0.3)
    assert opened.colors("canvas.surface") > 100
    before = opened.driver.find_element("css selector", "canvas.surface").screenshot_as_png
    opened.run("document.querySelector('canvas.surface').focus()")
    opened.press("ARROW_LEFT")
    time.sleep(0.3)
    assert opened.driver.find_element("css selector", "canvas.surface").screenshot_as_png != before
    opened.click(".level-name")
    assert opened.wait("return document.querySelector('.level-name').getAttribute('aria-pressed') === 'false'")
    opened.view("deviation")
    time.sleep(0.3)
    assert opened.colors("canvas.surface") > 50
    opened.click(".stage-bar [data-value='10']")
    assert "+10" in opened.run("return document.querySelector('.ticks').textContent")
    assert opened.complaints() == []


def test_the_name_under_the_pointer_is_shown(opened):
    opened.run("location.hash = 'case=perfect'")
    opened.wait("return document.getElementById('case').open")
    opened.view("deviation")
    time.sleep(0.3)
    script = """
      const canvas = document.querySelector('canvas.surface'), box = canvas.getBoundingClientRect(), seen = new Set();
      for (let y = 0.05; y < 1; y += 0.02) {
        const at = {clientX: box.left + box.width / 2, clientY: box.top + y * box.height, bubbles: true};
        canvas.dispatchEvent(new PointerEvent('pointermove', at));
        const tip = document.querySelector('.tooltip');
        if (!tip.hidden) seen.add(tip.textContent);
      }
      return [...seen]"""
    seen = opened.run(script)
    assert {text.split()[0] for text in seen} == set(LEVELS)
    assert all(abs(float(text.split()[1].replace("−", "-"))) < 1.5 for text in seen)  # both masks are the same


def test_slices_are_drawn_with_the_reference_or_the_prediction_over_them(opened):
    opened.run("location.hash = 'case=shifted'")
    opened.wait("return document.getElementById('case').open")
    opened.view("slices")
    time.sleep(0.5)
    assert opened.colors("canvas.slices") > 100
    pictures = []
    for name in ("reference", "prediction", "none"):
        opened.click(f".stage-bar [data-value={name}]")
        time.sleep(0.3)
        pictures.append(opened.driver.find_element("css selector", "canvas.slices").screenshot_as_png)
    assert len(set(pictures)) == 3
    opened.click(".stage-bar [data-value=sagittal]")
    opened.click(".vertebrae tr[data-level=L1] button")
    opened.wait("return document.querySelector('.place-mm').textContent.includes('reference L1   prediction L2')")
    assert opened.complaints() == []


@pytest.mark.parametrize("name", ["missed", "points", NASTY])
def test_every_view_works_without_a_ct_without_masks_and_with_an_unkind_name(opened, name):
    opened.run("location.hash = 'case=' + encodeURIComponent(arguments[0])", name)
    opened.wait("return document.getElementById('case').open")
    assert opened.case() == name
    opened.view("slices")
    opened.view("surfaces")
    opened.click(".views [data-value=deviation]")
    if name == "points":
        assert "needs a reference mask" in opened.wait("return document.querySelector('.stage-note')?.innerText")
    else:
        opened.wait("return document.getElementById('stage').dataset.ready === 'deviation'")
    assert opened.run("return document.querySelectorAll('img[onerror]').length") == 0
    assert opened.complaints() == []


def test_a_case_without_viewer_says_how_to_get_one(browser, light):
    page_ = Page(browser).open(light.path, "#case=" + quote(NASTY))
    page_.click(".views [data-value=surfaces]")
    command = page_.wait("return document.querySelector('.stage-note code')?.textContent")
    assert shlex.split(command)[-2:] == ["--cases", NASTY]
    assert page_.complaints() == []


def test_a_phone_scrolls_only_downwards(opened):
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    opened.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        assert opened.run("return document.documentElement.scrollWidth") <= 390
        opened.run("location.hash = 'case=missed'")
        opened.wait("return document.getElementById('case').open")
        for view in ("slices", "surfaces", "deviation"):
            opened.view(view)
            assert opened.run("return document.getElementById('case').scrollWidth") <= 390
    finally:
        opened.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("kept", [0, 1])
def test_no_case_and_one_case(browser, cohort, tmp_path, kept):
    def change(copy, content):
        content["cases"], content["failures"] = content["cases"][:kept], []
        content["summary"] = summarise_cohort([score_from_dict(case) for case in content["cases"]]).to_dict()

    copy = without(cohort, tmp_path, change)
    report = build_report(copy.evaluation, tmp_path / "report.html", ReportOptions())
    page_ = Page(browser).open(report.path)
    text = page_.run("return document.body.innerText")
    assert ("No case was evaluated" in text) == (kept == 0)
    assert "could not be evaluated" not in text
    assert "NaN" not in text
    assert len(page_.names()) == kept
    assert page_.complaints() == []


def test_regions_are_shown_as_regions(browser, tmp_path):
    truth = blocks()
    regions = np.where(truth >= BY_NAME["L1"].nnunet_id, 3, np.where(truth > 0, 2, 0)).astype(np.uint8)
    thin = regions.copy()
    thin[:14][regions[:14] == 3] = 0
    for folder, labels in (("ref", regions), ("pred", thin)):
        write_nifti(tmp_path / folder / "a.nii.gz", labels, BLOCKS_AFFINE)
        write_json(tmp_path / folder / "dataset.json", {"labels": dataset_labels("regions")})
    arguments = ["-p", str(tmp_path / "pred"), "-g", str(tmp_path / "ref"), "-o", str(tmp_path / "out"), "-np", "1"]
    assert main(["evaluate", *arguments, "--quiet"]) == 0
    assert main(["report", "-e", str(tmp_path / "out"), "--quiet", "-np", "1"]) == 0
    page_ = Page(browser).open(tmp_path / "out" / "report.html", "#case=a")
    text = page_.run("return document.body.innerText")
    assert "Levels cervical to lumbar" in text
    assert "all labels right" in page_.run("return document.querySelector('.case-title').innerText")
    levels = page_.run("return [...document.querySelectorAll('.vertebrae tbody tr')].map((r) => r.dataset.level)")
    assert levels == ["thoracic", "lumbar"]
    page_.view("surfaces")
    page_.view("slices")
    assert page_.run("return document.querySelectorAll('.point').length") == 6  # all, by region and by itself
    assert page_.complaints() == []
