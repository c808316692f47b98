"""One way of scoring one pair of label maps, timed in a process of its own: `python evaluation_worker.py WAY FOLDER`.

Started by `benchmarks.evaluation`, also with other interpreters: imports nothing of this package but in "ours". Reads
prediction.npy and reference.npy; prints one line of JSON: seconds, peak memory of the process, values by label.
"""

import contextlib
import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import ndimage

SPACING_MM = (0.8, 0.8, 0.8)
Values = dict[str, list[float]]


def ours(prediction: np.ndarray, reference: np.ndarray) -> Callable[[], Values]:
    """Everything that `score_case` gives."""
    from nnunet_spine.anatomy import BY_NAME
    from nnunet_spine.scores import Settings, score_case

    affine, settings = np.diag([*SPACING_MM, 1.0]), Settings(nsd_tolerance_mm=SPACING_MM[0])

    def run() -> Values:
        case = score_case(prediction, reference, affine, settings=settings)
        scores = sorted(case.vertebrae, key=lambda v: BY_NAME[v.name].nnunet_id)
        names = {"dice": "dice", "iou": "iou", "assd": "assd_mm", "hd": "hd_mm", "hd95": "hd95_mm", "nsd": "nsd"}
        return {name: [v[key] for v in scores] for name, key in names.items()}

    return run


def panoptica(prediction: np.ndarray, reference: np.ndarray) -> Callable[[], Values]:
    """Labels matched by name; Dice, IoU, ASSD, HD, HD95, NSD and the distance of the centres."""
    from panoptica import InputType, Panoptica_Evaluator
    from panoptica.metrics import Metric, MetricMode

    metrics = {"dice": "DSC", "iou": "IOU", "assd": "ASSD", "hd": "HD", "hd95": "HD95", "nsd": "NSD", "center": "CEDI"}
    evaluator = Panoptica_Evaluator(
        expected_input=InputType.MATCHED_INSTANCE,
        instance_metrics=[Metric[name] for name in metrics.values()],
        global_metrics=[Metric.DSC],
    )

    def run() -> Values:
        result = evaluator.evaluate(prediction, reference, result_all=False, voxelspacing=SPACING_MM)["ungrouped"]
        return {own: result.get_list_metric(Metric[name], MetricMode.ALL) for own, name in metrics.items()}

    return run


def surface_distance(prediction: np.ndarray, reference: np.ndarray) -> Callable[[], Values]:
    """Dice, ASD, HD, HD95 and NSD on crops of one vertebra each, cut beforehand."""
    import surface_distance as sd

    crops = ready_crops(prediction, reference)

    def run() -> Values:
        values: Values = {name: [] for name in ("dice", "hd", "hd95", "nsd")}
        for pred, ref in crops:
            distances = sd.compute_surface_distances(ref, pred, SPACING_MM)
            sd.compute_average_surface_distance(distances)
            values["dice"].append(sd.compute_dice_coefficient(ref, pred))
            values["hd"].append(sd.compute_robust_hausdorff(distances, 100))
            values["hd95"].append(sd.compute_robust_hausdorff(distances, 95))
            values["nsd"].append(sd.compute_surface_dice_at_tolerance(distances, SPACING_MM[0]))
        return values

    return run


def verse(prediction: np.ndarray, reference: np.ndarray) -> Callable[[], Values]:
    """Dice alone, as in VerSe's script: two boolean masks of the whole volume for each of its 28 labels."""

    def run() -> Values:
        values = []
        for label in range(1, 29):
            pred, ref = prediction == label, reference == label
            size = pred.sum() + ref.sum()
            values.append(2 * np.logical_and(pred, ref).sum() / size if size else 1.0)
        return {"dice": [values[k - 1] for k in np.unique(reference) if k]}

    return run


def ready_crops(prediction: np.ndarray, reference: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Boolean masks of each label in the box that holds it on both sides, with a margin of one voxel."""
    crops = []
    boxes = ndimage.find_objects(prediction), ndimage.find_objects(reference)
    for label, sides in enumerate(zip(*boxes, strict=True), start=1):
        if None not in sides:
            box = tuple(slice(min(s.start for s in b), max(s.stop for s in b)) for b in zip(*sides, strict=True))
            crops.append(tuple(np.pad(m[box] == label, 1) for m in (prediction, reference)))
    return crops


WAYS = {"ours": ours, "panoptica": panoptica, "surface-distance": surface_distance, "VerSe": verse}


def main() -> None:
    """Prepare, run once to warm up and once timed, report."""
    way, folder = sys.argv[1], Path(sys.argv[2])
    os.environ["PANOPTICA_CITATION_REMINDER"] = "False"
    prediction, reference = (np.load(folder / f"{name}.npy") for name in ("prediction", "reference"))
    with contextlib.redirect_stdout(sys.stderr):
        run = WAYS[way](prediction, reference)
        run()  # the first run also pays for memory that later ones reuse; a cohort has many
        start, cpu_start = time.perf_counter(), time.process_time()
        values = run()
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    peak_kb = re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text(encoding="utf-8"))[
        1
    ]  # rusage counts the parent's, too
    values = {name: [float(v) for v in column] for name, column in values.items()}
    peak_gb = int(peak_kb) * 1024 / 1e9
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_gb": peak_gb, "values": values}))


if __name__ == "__main__":
    main()
