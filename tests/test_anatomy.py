from itertools import pairwise

import pytest

from nnunet_spine import anatomy
from nnunet_spine.errors import InputError


def test_ids_are_verse_ids_except_t13():
    assert anatomy.BY_NAME["C1"].verse_id == 1
    assert anatomy.BY_NAME["T12"].verse_id == 19
    assert anatomy.BY_NAME["L6"].verse_id == 25
    assert {level.name for level in anatomy.LEVELS if level.verse_id != level.nnunet_id} == {"T13"}
    assert (anatomy.BY_NAME["T13"].verse_id, anatomy.BY_NAME["T13"].nnunet_id) == (28, 26)


def test_nnunet_ids_are_consecutive():
    assert sorted(anatomy.BY_NNUNET_ID) == list(range(1, 27))


def test_every_level_has_its_own_colour_and_neighbours_contrast():
    colors = [level.color for level in anatomy.LEVELS]
    assert len(set(colors)) == 26
    for a, b in pairwise(colors):
        assert sum(abs(x - y) for x, y in zip(a, b, strict=True)) > 150


def test_t13_lies_between_t12_and_l1():
    assert anatomy.sort_cranio_caudal(["L1", "T13", "T12", "C7"]) == ["C7", "T12", "T13", "L1"]


@pytest.mark.parametrize(
    ("thoracic", "lumbar", "tail"),
    [
        (12, 5, "T11 T12 L1 L2 L3 L4 L5"),
        (11, 5, "T10 T11 L1 L2 L3 L4 L5"),
        (13, 4, "T13 L1 L2 L3 L4"),
        (12, 6, "L5 L6"),
    ],
)
def test_sequences_with_variants(thoracic, lumbar, tail):
    sequence = anatomy.spine_sequence(last_thoracic=thoracic, last_lumbar=lumbar)
    assert len(sequence) == 7 + thoracic + lumbar
    assert sequence[-len(tail.split()) :] == tuple(tail.split())
    assert all(anatomy.expected_neighbours(a, b) for a, b in pairwise(sequence))


def test_impossible_neighbours():
    assert not anatomy.expected_neighbours("T10", "L1")
    assert not anatomy.expected_neighbours("L1", "T12")


def test_sequence_of_impossible_counts():
    with pytest.raises(InputError, match="14 thoracic"):
        anatomy.spine_sequence(last_thoracic=14)


@pytest.mark.parametrize(
    ("source", "target", "pairs"),
    [
        ("verse", "nnunet", {0: 0, 19: 19, 28: 26, 26: -1, 27: -1}),
        ("nnunet", "verse", {0: 0, 25: 25, 26: 28}),
        ("verse", "region", {7: 1, 8: 2, 28: 2, 20: 3}),
        ("nnunet", "region", {26: 2, 25: 3}),
        ("nnunet", "spine", {0: 0, 1: 1, 26: 1}),
    ],
)
def test_lookup_tables(source, target, pairs):
    table = anatomy.lookup_table(source, target)
    assert {k: int(table[k]) for k in pairs} == pairs


def test_lookup_table_round_trip():
    ids = [level.verse_id for level in anatomy.LEVELS]
    there, back = anatomy.lookup_table("verse", "nnunet"), anatomy.lookup_table("nnunet", "verse")
    assert [int(back[there[i]]) for i in ids] == ids


def test_dataset_labels_are_what_nnunet_accepts():
    for kind, n in (("vertebrae", 26), ("regions", 3), ("spine", 1)):
        assert list(anatomy.dataset_labels(kind).values()) == list(range(n + 1))
    assert anatomy.dataset_labels("vertebrae")["T13"] == 26
    with pytest.raises(InputError, match="expected vertebrae, regions, spine or vertebra"):
        anatomy.dataset_labels("discs")
