"""Text files with anything in them: a result or one message, never another error."""

from pathlib import Path

import numpy as np
import pytest
from glocker_tree import points_for, write_lml

from nnunet_spine.dataset_conversion import ctspine1k, totalsegmentator
from nnunet_spine.dataset_conversion.csi2014 import find_scans as find_csi
from nnunet_spine.dataset_conversion.generic import read_values
from nnunet_spine.dataset_conversion.lml import LmlFile
from nnunet_spine.dataset_conversion.numbered import read_level_table
from nnunet_spine.dataset_conversion.rows import read_table
from nnunet_spine.errors import InputError

SPLITS = b"trainset:\r\na.nii.gz\r\ntest_public:\r\nb.nii.gz\r\ntest_private:\r\nc.nii.gz\r\n"
META = b"image_id;age;split\ns0001;70;train\ns0002;;val\ns0003;61;test\n"
GROUPS = b"case,group\ncase1,healthy\ncase2,osteoporotic\n"
CASES = b"case,patient,split,image,mask\na,p,training,a.nii.gz,\n"
READERS = {
    "lml": (None, lambda path: LmlFile(path).points()),
    "data_split.txt": (SPLITS, lambda path: ctspine1k._splits([path], "validation")),
    "meta.csv": (META, lambda path: totalsegmentator._splits([path])),
    "levels.csv": (b"case,value,level\ncase1,100,L1\ncase1,200,L2\n", read_level_table),
    "values.csv": (b"value,level\n1,L1\n2,background\n", lambda path: read_values([str(path)], [])),
    "cases.csv": (CASES, lambda path: read_table(path, [path.parent])),
    "groups.csv": (GROUPS, lambda path: find_csi([path.parent], groups=path)),
}  # fmt: skip


def damaged(content: bytes, random: np.random.Generator) -> bytes:
    """The text with some bytes changed, cut out or doubled."""
    out = bytearray(content)
    for _ in range(random.integers(1, 6)):
        start = int(random.integers(0, max(1, len(out))))
        stop = start + int(random.integers(1, 12))
        way = random.integers(0, 4)
        if way == 0:
            out[start:stop] = random.integers(0, 256, stop - start, np.uint8).tobytes()
        elif way == 1:
            del out[start:stop]
        elif way == 2:
            out[start:start] = out[start:stop]
        else:
            out[start:start] = random.choice(
                [b"\0", b"\r", b'"', b";", b"\t", b"nan", "²".encode(), b"-1e999", b"\xff\xfe", b"_"]
            )
    return bytes(out)


@pytest.mark.parametrize("name", READERS)
def test_damaged_tables_and_landmarks(tmp_path: Path, name):
    content, read = READERS[name]
    for case in ("case1", "case2"):
        for ending in (".mhd", "_label.mhd"):
            (tmp_path / f"{case}{ending}").write_bytes(b"")
    (tmp_path / "a.nii.gz").write_bytes(b"")
    path = tmp_path / name
    if content is None:
        write_lml(path, points_for())
        content = path.read_bytes()
    path.write_bytes(content)
    assert read(path) is not None  # as it should be
    random, usable = np.random.default_rng(0), 0
    for _ in range(300):
        path.write_bytes(damaged(content, random))
        try:
            read(path)
            usable += 1
        except InputError as error:
            assert "\n" not in str(error)
    assert usable < 300
