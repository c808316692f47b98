"""File names of VerSe'19 and VerSe'20 in both layouts.

Sources: https://github.com/anjany/verse (README, issues 1, 6, 15), the OSF wikis of both years (nqjyw, t98fz / b2wxj),
and the loaders of MedNeXt (Task056_VerSe2019.py, Task083_VerSe2020.py).
"""

import re
from dataclasses import dataclass
from pathlib import PurePath

SERIES_OF_PATIENT: dict[str, tuple[str, ...]] = {
    f"verse{patient}": tuple(f"verse{s:03d}" for s in series)
    for patient, series in {
        400: (90, 155), 401: (201, 253), 402: (202, 251), 403: (208, 255), 404: (209, 256), 405: (212, 258, 259),
        406: (214, 261), 407: (215, 262), 408: (223, 265), 409: (226, 266), 410: (227, 267), 411: (232, 270),
        412: (235, 290), 413: (239, 272), 414: (241, 273), 415: (243, 275), 416: (247, 279), 417: (277, 278),
    }.items()
}  # fmt: skip
"""Patients with several series; in the VerSe'19 challenge layout this table is the only link between them."""

PATIENT_OF_SERIES: dict[str, str] = {s: patient for patient, series in SERIES_OF_PATIENT.items() for s in series}

_ENDING = r"\.nii(?:\.gz)?"
_SUBJECT = re.compile(
    r"(?P<stem>sub-(?P<subject>[^_]+)(?P<entities>(?:_(?!seg-)[a-z]+-[^_]+)*))"
    rf"_(?P<rest>ct{_ENDING}|seg-vert_msk{_ENDING}|seg-subreg_ctd\.json)",
    re.IGNORECASE,
)
_MICCAI = re.compile(
    r"(?P<first>(?:verse|gl)\d+)(?:_(?P<second>verse\d+))?(?:_ct[-_](?P<plane>ax|sag|cor|iso))?"
    rf"(?P<rest>_seg{_ENDING}|{_ENDING}|[-_](?P<iso>iso-)?ctd\.json)",
    re.IGNORECASE,
)
_YEAR = re.compile(r"verse[-_' ]?(?:20)?(19|20)(?!\d)", re.IGNORECASE)
_NUMBERED = re.compile(
    r"(?:dataset[-_ ])?(?:01[-_ ]?train(?:ing)?|02[-_ ]?val(?:idation)?|03[-_ ]?test(?:ing)?)(?![a-z])", re.IGNORECASE
)


@dataclass(frozen=True)
class Name:
    """One parsed file name.

    Attributes:
        kind: "image", "mask" or "centroids".
        layout: "subject" or "miccai".
        patient, series: lower case; `series` is empty for patients with one series.
        stem: what image, mask and centroids of one scan share (the pairing key).
        year: "19" or "20" where the name itself tells, else "".
    """

    kind: str
    layout: str
    patient: str
    series: str
    stem: str
    year: str = ""

    @property
    def case(self) -> str:
        """nnU-Net case identifier: patient, and series where there is one; letters, digits, `-` and `_` only."""
        joined = f"{self.patient}_{self.series}" if self.series else self.patient
        return re.sub(r"[^A-Za-z0-9_-]", "-", joined)


def parse_name(file_name: str) -> Name | None:
    """What a file is, by its name alone; None for anything that is not image, mask or centroids of a scan."""
    if match := _SUBJECT.fullmatch(file_name):
        return _subject_name(match)
    if match := _MICCAI.fullmatch(file_name):
        return _miccai_name(match)
    return None


def _subject_name(match: re.Match) -> Name:
    kind = {"ct": "image", "seg-vert": "mask", "seg-subreg": "centroids"}[re.split(r"[._]", match["rest"].lower())[0]]
    entities = [entity.split("-", 1) for entity in match["entities"].split("_") if entity]
    # `dir` names the plane of best resolution and does not tell scans apart; every other entity does.
    series = "-".join(value.lower() for key, value in entities if key.lower() != "dir")
    return Name(kind, "subject", match["subject"].lower(), series, match["stem"].lower())


def _miccai_name(match: re.Match) -> Name:
    first, second = match["first"].lower(), (match["second"] or "").lower()
    patient, series = (first, second) if second else (PATIENT_OF_SERIES.get(first, first), "")
    if not second and patient != first:
        series = first
    rest = match["rest"].lower()
    kind = "centroids" if rest.endswith("json") else "mask" if rest.startswith("_seg") else "image"
    year = "20" if match["iso"] or match["plane"] or second else "19" if kind == "centroids" else ""
    # Image and centroid names may disagree in the `_CT-ax` part (GL124), so patient and series make the pair.
    return Name(kind, "miccai", patient, series, f"{patient}_{series}", year)


def year_of(folders: PurePath) -> str:
    """ "19" or "20" by the folder names, or "" where they do not tell."""
    for part in reversed(folders.parts):
        if match := _YEAR.search(part):
            return match[1]
    return "20" if any(_NUMBERED.match(part) for part in folders.parts) else ""
