"""Each case once: the same files found twice are one scan, different files of one name are a question to the user."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from nnunet_spine.dataset_conversion.case import Scan
from nnunet_spine.dataset_conversion.source_files import same_files
from nnunet_spine.jobs import Failure


def distinct_scans(scans: Iterable[Scan]) -> tuple[list[Scan], list[Failure]]:
    """Scans sorted by case, and cases of which there are several.

    A scan that is found again by a link, or below two sources, is kept once; its other places must not name another
    split.
    """
    by_case: dict[str, list[Scan]] = defaultdict(list)
    for scan in scans:
        copies = by_case[scan.case]
        twin = next((k for k, other in enumerate(copies) if same_files(scan.files, other.files)), None)
        if twin is None:
            copies.append(scan)
        else:
            copies[twin] = replace(copies[twin], other_places=(*copies[twin].other_places, scan.place))
    kept, problems = [], []
    for case, copies in sorted(by_case.items()):
        if len(copies) == 1:
            kept += copies
        else:
            places = ", ".join(str(copy.files[0]) for copy in copies)
            problems.append(Failure(case, f"duplicate case: {places}", "remove all but one"))
    return kept, problems
