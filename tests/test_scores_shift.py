import pytest

from nnunet_spine.anatomy import spine_sequence
from nnunet_spine.scores import level_shift


def shifted(names, sequence, by):
    """Pairs of a prediction that is off by some levels in a sequence; what falls off its ends is not found."""
    wanted = [sequence.index(name) + by for name in names]
    return [(name, sequence[k]) for name, k in zip(names, wanted, strict=True) if 0 <= k < len(sequence)]


USUAL = spine_sequence()
WITH_T13 = spine_sequence(last_thoracic=13)
WITH_L6 = spine_sequence(last_lumbar=6)
WITH_T11 = spine_sequence(last_thoracic=11)


@pytest.mark.parametrize("by", [-2, -1, 1, 3])
@pytest.mark.parametrize("sequence", [USUAL, WITH_T13, WITH_L6, WITH_T11], ids=["usual", "T13", "L6", "T11"])
def test_every_spine_is_counted_along_its_own_levels(sequence, by):
    assert level_shift(shifted(sequence[8:], sequence, by)) == by


def test_t13_is_one_level_caudal_to_t12():
    assert level_shift([("T11", "T12"), ("T12", "T13"), ("T13", "L1"), ("L1", "L2")]) == 1


def test_t13_where_the_spine_has_none_is_no_shift():
    assert level_shift([("T10", "T10"), ("T11", "T11"), ("T12", "T13"), ("L1", "L1")]) is None


def test_l6_may_be_the_last_of_the_prediction():
    assert level_shift([("L3", "L4"), ("L4", "L5"), ("L5", "L6")]) == 1


def test_one_vertebra():
    assert level_shift([("L1", "L2")]) == 1


def test_nothing_wrong_and_nothing_found():
    assert level_shift([("L1", "L1"), ("L2", "L2")]) is None
    assert level_shift([]) is None


def test_one_in_ten_may_disagree():
    pairs = shifted(USUAL[5:15], USUAL, 1)
    pairs[3] = (pairs[3][0], pairs[3][0])
    assert level_shift(pairs) == 1


def test_half_a_spine_is_no_shift():
    assert level_shift([(n, n) for n in USUAL[:6]] + shifted(USUAL[6:12], USUAL, 1)) is None
