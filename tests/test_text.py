"""Text as Windows editors, spreadsheets and shells write it."""

import json

import pytest

from nnunet_spine.dataset_conversion.corrections import read_corrections
from nnunet_spine.errors import InputError
from nnunet_spine.evaluation.evaluate import read_groups
from nnunet_spine.io.centroid_files import read_points
from nnunet_spine.io.files import read_json
from nnunet_spine.io.text import decode, read_records, read_rows, read_text

ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_json_and_tables_of_every_encoding(tmp_path, encoding, end):
    path = tmp_path / "a.json"
    path.write_bytes(json.dumps({"Müller": [1, 2]}, ensure_ascii=False, indent=1).replace("\n", end).encode(encoding))
    assert read_json(path) == {"Müller": [1, 2]}
    path.write_bytes(end.join(["case,group", "Müller,a", "b,c", ""]).encode(encoding))
    assert read_groups(path) == {"Müller": ("a",), "b": ("c",)}
    path.write_bytes(end.join(["case;from;to", "verse900;L3;L4"]).encode(encoding))
    assert read_corrections(path).by_case["verse900"].names == {"L3": "L4"}
    points = [{"direction": ["L", "P", "S"]}, {"label": 20, "X": 1.0, "Y": 2.0, "Z": 3.0}]
    path.write_bytes(json.dumps(points, indent=1).replace("\n", end).encode(encoding))
    assert read_points(path).points[20].tolist() == [1, 2, 3]


def test_utf16_marks_of_both_byte_orders():
    assert decode(b"\xfe\xff\x00a") == decode(b"\xff\xfea\x00") == decode(b"\x00a") == "a"


def test_bytes_that_are_no_utf8_are_windows_1252():
    assert decode(b"gr\xfcn \x80") == "grün €"
    assert decode(b"\x81\xfc") == "\x81ü"  # without a meaning in Windows-1252: Latin-1


def test_missing_binary_and_folder(tmp_path):
    (tmp_path / "a").write_bytes(b"\xff\xfe\x00\xd8\x00")
    for name, found in (("a", "no text"), ("b", "no such file"), ("", "not readable")):
        with pytest.raises(InputError, match=found):
            read_text(tmp_path / name)
    (tmp_path / "c.json").write_text("{'a': 1}", encoding="utf-8")
    with pytest.raises(InputError, match="not readable as JSON"):
        read_json(tmp_path / "c.json")


@pytest.mark.parametrize(
    "text",
    [
        "case,group\na,x y\nb,z\n",
        "case;group\na;x y\nb;z\n",
        "case\tgroup\r\na\tx y\r\nb\tz\r\n",
        "sep=;\ncase;group\na;x y\nb;z\n",
        'case, group\n# a remark, with commas, in it\n"a", "x y"\n\n  b , z\n',
        "Case,Group\na,x y\nb,z\n,\n",
    ],
)
def test_separators_quotes_and_empty_lines(tmp_path, text):
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode())
    assert read_records(path, ("case", "group")) == [{"case": "a", "group": "x y"}, {"case": "b", "group": "z"}]


def test_lines_keep_their_numbers(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("# one\n\na,*,T12;T13;L1\n", encoding="utf-8")
    assert read_rows(path) == [(3, ["a", "*", "T12;T13;L1"])]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "the header line has 0 columns 'case'"),
        ("name,group\na,b\n", "the header line has 0 columns 'case'"),
        ("case,group,case\na,b,c\n", "the header line has 2 columns 'case'"),
        ("case,group\na,b\nc,d,e\n", "line 3 has 3 cells for 2 columns"),
        ('case,group\n"a,b\n', "not readable as CSV"),
    ],
)
def test_tables_that_cannot_be_understood(tmp_path, text, found):
    path = tmp_path / "a.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=found):
        read_records(path, ("case", "group"))
