"""Seconds to build a report, its size, and seconds until its table can be read.

    python -m benchmarks.report [-n 300] [--viewers 12] [--rounds 5] [-np 2]

A few phantoms of whole spines with errors made on purpose stand for the cohort: their entries are repeated under as
many names as cases are wanted. The page is loaded from its file in a fresh headless Chromium each round.
"Table" is the median time from navigation to the sorted table, "complete" until the last byte is read and parsed.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from nnunet_spine.anatomy import BY_NAME, NAMES, lookup_table
from nnunet_spine.evaluation import Request, evaluate, load, score_from_dict, write_record
from nnunet_spine.io.files import write_json
from nnunet_spine.io.nifti import write_nifti
from nnunet_spine.jobs import Run, processes
from nnunet_spine.phantom import PhantomOptions, draw_phantom
from nnunet_spine.report import ReportOptions, build_report
from nnunet_spine.scores import summarise_cohort

MODELS = 4
FLAGS = ("--headless=new", "--no-sandbox", "--window-size=1400,900")


def write_models(folder: Path) -> Path:
    """Phantoms and predictions, evaluated; returns evaluation.json."""
    table = lookup_table("verse", "nnunet").astype(np.uint8)
    for i in range(MODELS):
        phantom = draw_phantom(i, PhantomOptions())
        labels = table[phantom.mask]
        predicted = np.roll(labels, 1, axis=2)
        for name, other in list(pairwise(NAMES))[5 * i : 7 * i]:
            predicted[labels == BY_NAME[name].nnunet_id] = BY_NAME[other].nnunet_id
        for kind, array in (("images", phantom.image), ("references", labels), ("predictions", predicted)):
            write_nifti(folder / kind / f"model{i}.nii.gz", array, phantom.affine)
    request = Request((folder / "references",), images=folder / "images")
    return write_record(evaluate(folder / "predictions", request, folder, Run(say=lambda text: None)), folder)


def multiply(path: Path, n: int) -> None:
    """Give the models' entries n names."""
    content = load(path)
    models = content["cases"]
    content["cases"] = [{**models[i % len(models)], "case": f"case{i:04d}"} for i in range(n)]
    content["summary"] = summarise_cohort([score_from_dict(case) for case in content["cases"]]).to_dict()
    write_json(path, content)


def load_seconds(page: Path) -> tuple[float, float]:
    """From navigation until the table is there and sorted, and until the page is complete."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for flag in FLAGS:
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        driver.set_page_load_timeout(300)
        driver.get(page.as_uri())
        script = "return performance.getEntriesByName(arguments[0]).map((mark) => mark.startTime)"
        complete = "return performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"
        while not (marks := driver.execute_script(script, "table")):
            time.sleep(0.05)
        return marks[0] / 1000, driver.execute_script(complete) / 1000
    finally:
        driver.quit()


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=300, help="cases")
    parser.add_argument("--viewers", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("-np", dest="processes", type=int, default=2)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        evaluation = write_models(folder)
        multiply(evaluation, args.n)
        start = time.perf_counter()
        options, run = ReportOptions(viewers=args.viewers), Run(processes(args.processes))
        full = build_report(evaluation, folder / "full.html", options, run)
        built = time.perf_counter() - start
        seconds = [load_seconds(full.path) for _ in range(args.rounds)]
        table, complete = (statistics.median(column) for column in zip(*seconds, strict=True))
    print("| cases | with viewers | build, s | processes | size, MB | table, s | complete, s |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    size = full.size_bytes / 1e6
    print(f"| {args.n} | {full.viewers} | {built:.0f} | {args.processes} | {size:.1f} | {table:.2f} | {complete:.2f} |")


if __name__ == "__main__":
    main()
