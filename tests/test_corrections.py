"""Lists of label corrections."""

import pytest

from nnunet_spine.dataset_conversion.corrections import Correction, corrected_names, read_corrections
from nnunet_spine.dataset_conversion.verse_corrections import VERIDAH
from nnunet_spine.errors import InputError


def test_none_by_default():
    assert not read_corrections(None).by_case


def test_veridah():
    assert len(read_corrections("veridah", {"veridah": VERIDAH}).by_case) == len(VERIDAH) == 15
    names = VERIDAH["verse509"].names
    assert (names["L1"], names["L2"], names["L6"]) == ("T13", "L1", "L5")
    assert VERIDAH["verse559"].sequence[0] == "C3"
    assert VERIDAH["verse559"].sequence[-1] == "L4"
    assert [len(VERIDAH[f"verse{n}"].sequence) for n in (559, 606, 642)] == [21, 19, 20]


def test_sequence_follows_the_height_in_the_world_not_the_labels():
    heights = {"L1": 10.0, "T13": 40.0, "T12": 25.0}
    correction = Correction(sequence=("T11", "T12", "L1"))
    assert corrected_names(correction, heights) == {"T13": "T11", "T12": "T12", "L1": "L1"}


def test_two_levels_with_one_name():
    with pytest.raises(InputError, match="two levels one name"):
        corrected_names(Correction({"L1": "L2"}), {"L1": 2.0, "L2": 1.0})


@pytest.mark.parametrize(
    "text", ["a,L1", "a,L1,L9", "a,*,L5-L1", "a,*,T1 T1", "a,26,L1", "a,L1,L2\na,*,L1-L2", "a,x,y,z"]
)
def test_lines_that_say_nothing_sensible(tmp_path, text):
    path = tmp_path / "list.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"list\.csv"):
        read_corrections(path)


def test_missing_list(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_corrections(tmp_path / "none.csv")


def test_explicit_sequence_may_hold_t13(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("# checked by hand\na,*,T12 T13 L1\nb,28,L1\n", encoding="utf-8")
    found = read_corrections(path).by_case
    assert found["a"].sequence == ("T12", "T13", "L1")
    assert found["b"].names == {"T13": "L1"}
