"""The walk from vertebra to vertebra, led by oracles in place of a network."""

import itertools
import json

import numpy as np
import pytest
from walked_spines import PATCH, Everywhere, Forgetful, Jumping, Oracle, Restless, blob_spine

from nnunet_spine.errors import InputError
from nnunet_spine.traversal import Instance, Rules, Scan, Walk, doubts, spine_parts, walk_spine, walk_spines
from nnunet_spine.traversal.agreement import agreement
from nnunet_spine.traversal.fragment import find_fragment

ORIENTATIONS = [
    "".join(codes) for axes in itertools.permutations(("LR", "PA", "IS")) for codes in itertools.product(*axes)
]
WAYS = [("jump", False), ("jump", True), ("reference", False), ("reference", True)]
CUBE = 12  # voxels of 2 mm: 13.8 cm³
ISOTROPIC = np.diag([2.0, 2.0, 2.0, 1.0])


def scan_of(ranks: np.ndarray, affine: np.ndarray, parts=None) -> Scan:
    return Scan(ranks[None].astype(np.float32), affine, parts)


def ranks_found(walk: Walk, ranks: np.ndarray) -> list[int]:
    """The vertebra that most voxels of each instance belong to, in order of the instances."""
    return [int(np.bincount(ranks[walk.labels == i.number]).argmax()) for i in walk.instances]


def kinds(walk: Walk) -> set[str]:
    return {decision.kind for decision in walk.decisions}


@pytest.fixture(scope="module")
def spine():
    """Sixteen vertebrae, C5 to L1, and the parts of their regions."""
    ranks, regions, affine = blob_spine(np.random.default_rng(3), 4, 20, "PIR")
    return ranks, affine, spine_parts(regions, affine)


@pytest.mark.parametrize(("mode", "upwards"), WAYS)
def test_with_a_perfect_network_every_vertebra_is_found_once_and_in_order(mode, upwards):
    """In each of the 48 orientations, along the line of the first stage and without it."""
    rng = np.random.default_rng(upwards)
    passes, vertebrae = 0, 0
    for codes in ORIENTATIONS:
        first = int(rng.integers(0, 16))
        last = int(rng.integers(first + 3, min(first + 9, 25)))
        ranks, regions, affine = blob_spine(rng, first, last, codes)
        for parts in (spine_parts(regions, affine), None):
            walk = walk_spine(scan_of(ranks, affine, parts), Oracle(upwards), PATCH, Rules(mode, upwards))
            np.testing.assert_array_equal(walk.labels, ranks, err_msg=codes)
            assert not walk.stopped and kinds(walk) <= {"found", "nothing", "again"}
        passes, vertebrae = passes + walk.passes, vertebrae + last - first
    assert passes / vertebrae <= (1.6 if mode == "jump" else 3)


@pytest.mark.parametrize(("mode", "parts_known"), [("jump", True), ("jump", False), ("reference", True)])
def test_several_parts_of_a_spine_in_one_scan(mode, parts_known):
    """Six vertebrae without label between them."""
    ranks, regions, affine = blob_spine(np.random.default_rng(1), 0, 24)
    hidden = (ranks > 8) & (ranks < 15)
    ranks[hidden] = regions[hidden] = 0
    parts = spine_parts(regions, affine)
    assert len(parts) == 2
    walk = walk_spine(scan_of(ranks, affine, parts if parts_known else None), Oracle(), PATCH, Rules(mode))
    assert ranks_found(walk, ranks) == [*range(1, 9), *range(15, 25)]
    if parts_known:
        assert [instance.part for instance in walk.instances] == [0] * 8 + [1] * 10


def test_no_spine():
    empty = np.zeros((50, 60, 70), np.uint8)
    assert spine_parts(empty, ISOTROPIC) == ()
    oracle = Oracle()
    walk = walk_spine(scan_of(empty, ISOTROPIC, ()), oracle, PATCH)
    assert (walk.instances, walk.passes, oracle.passes, walk.stopped) == ((), 0, 0, "")
    assert not walk.labels.any() and np.isnan(walk.passes_per_vertebra)
    assert walk_spine(scan_of(empty, ISOTROPIC), oracle, PATCH).instances == ()  # looks, and finds nothing


def test_what_the_edge_of_the_scan_cuts_is_found_and_marked(spine):
    ranks, affine, _ = spine
    cut = np.ascontiguousarray(ranks[:, 25:95])  # axis 1 runs from head to foot
    walk = walk_spine(scan_of(cut, affine), Oracle(), PATCH)
    present = [r for r in np.unique(cut) if r and np.count_nonzero(cut == r) * 27 >= 1000]
    assert ranks_found(walk, cut) == present
    assert [i.cut for i in walk.instances] == [True] + [False] * (len(present) - 2) + [True]
    assert walk.labels.max() == len(present)


class TestErrors:
    """Networks that err in ways told beforehand: the walk ends within its limits, and says what it saw."""

    @pytest.mark.parametrize("mode", ["jump", "reference"])
    @pytest.mark.parametrize("known", [True, False], ids=["line", "no line"])
    @pytest.mark.parametrize(
        "oracle",
        [
            Oracle(blind=(6, 7)),
            Oracle(merged=(5,)),
            Oracle(partial=0.6),
            Restless(),
            Jumping(),
            Forgetful(),
            Everywhere(),
        ],
        ids=["blind", "merging", "partial", "restless", "jumping", "forgetful", "everywhere"],
    )
    def test_ends_and_overwrites_nothing(self, spine, mode, known, oracle):
        ranks, affine, parts = spine
        walk = walk_spine(scan_of(ranks, affine, parts if known else None), oracle, PATCH, Rules(mode, most_passes=80))
        assert walk.passes <= 80 and bool(walk.stopped) == ("limit" in kinds(walk))
        assert np.unique(walk.labels[walk.labels > 0]).tolist() == [i.number for i in walk.instances]
        covered = np.zeros(ranks.shape, int)
        for instance in walk.instances:
            covered[instance.box] += instance.probability > 0
        np.testing.assert_array_equal(covered, walk.labels > 0)  # each voxel has one vertebra
        json.dumps(walk.as_dict())

    def test_a_missed_vertebra_leaves_a_gap_that_is_said(self, spine):
        ranks, affine, parts = spine
        walk = walk_spine(scan_of(ranks, affine, parts), Oracle(blind=(6,)), PATCH)
        assert ranks_found(walk, ranks) == [r for r in range(1, 17) if r != 6]
        assert "gap" in kinds(walk)
        assert ("gap", 5) in {(d.kind, d.instance) for d in doubts(walk)}

    def test_a_vertebra_missed_from_one_place_is_found_from_the_next(self, spine):
        """The network sees the sixth only where it lies in the upper half of the patch."""
        ranks, affine, parts = spine

        class Shy(Oracle):
            def answer(self, ranks, memory):
                at = np.argwhere(ranks == 6)
                self.blind = () if len(at) and at[:, 1].mean() > 0.6 * ranks.shape[1] else (6,)
                return super().answer(ranks, memory)

        walk = walk_spine(scan_of(ranks, affine, parts), Shy(), PATCH)
        assert ranks_found(walk, ranks) == list(range(1, 17))
        assert {"gap", "again"} <= kinds(walk)

    def test_four_missed_vertebrae_are_jumped_over(self, spine):
        ranks, affine, parts = spine
        missed = (6, 7, 8, 9)
        walk = walk_spine(scan_of(ranks, affine, parts), Oracle(blind=missed), PATCH)
        assert ranks_found(walk, ranks) == [r for r in range(1, 17) if r not in missed]
        reference = walk_spine(scan_of(ranks, affine, parts), Oracle(blind=missed), PATCH, Rules("reference"))
        assert ranks_found(reference, ranks) == [1, 2, 3, 4, 5]  # its walk ends there

    def test_two_taken_for_one_are_large(self, spine):
        ranks, affine, parts = spine
        walk = walk_spine(scan_of(ranks, affine, parts), Oracle(merged=(5,)), PATCH)
        assert len(walk.instances) == 15
        assert ("large", 5) in {(d.kind, d.instance) for d in doubts(walk)}

    def test_a_small_piece_beside_a_vertebra_is_the_rest_of_it(self):
        ranks = np.zeros((40, 40, 60), np.uint8)
        ranks[10:22, 10:22, 20:32] = 1
        ranks[10:22, 22:25, 20:32] = 2  # a quarter of it
        walk = walk_spine(scan_of(ranks, ISOTROPIC), Oracle(), PATCH)
        assert np.array_equal(walk.labels > 0, ranks > 0) and walk.labels.max() == 1
        assert walk.instances[0].volume_mm3 == pytest.approx(8 * np.count_nonzero(ranks))
        assert "joined" in kinds(walk)

    def test_a_crumb_is_set_aside_and_does_not_block_the_walk(self):
        """A piece of that volume which the edge of the scan cuts is no crumb."""
        ranks = np.zeros((40, 40, 60), np.uint8)
        ranks[10:15, 10:15, 55:58] = 1  # 600 mm³, less than a walk starts from
        ranks[10:22, 10:22, 30:42] = 2
        walk = walk_spine(scan_of(ranks, ISOTROPIC), Oracle(), PATCH)
        assert ranks_found(walk, ranks) == [2] and "crumb" in kinds(walk)
        assert not walk.labels[ranks == 1].any()
        ranks[10:15, 10:15, 58:60] = 1
        walk = walk_spine(scan_of(ranks[..., 2:], ISOTROPIC), Oracle(), PATCH)
        assert ranks_found(walk, ranks[..., 2:]) == [1, 2] and "crumb" not in kinds(walk)

    def test_a_patch_that_never_comes_to_rest_is_taken_as_it_is(self):
        ranks = np.zeros((40, 40, 40), np.uint8)
        ranks[4:16, 4:16, 4:16] = 1
        ranks[24:36, 24:36, 24:36] = 2

        class Swinging(Oracle):
            def answer(self, ranks, memory):
                return (ranks == 1 + self.passes % 2).astype(np.float32), 1.0

        rules = Rules("reference", most_moves=4, most_instances=1)
        walk = walk_spine(scan_of(ranks, ISOTROPIC), Swinging(), (60, 60, 60), rules)
        assert "unsettled" in kinds(walk)
        assert [i.settled for i in walk.instances] == [False]
        assert "unsettled" in {d.kind for d in doubts(walk)}

    def test_limits_are_said(self, spine):
        ranks, affine, parts = spine
        walk = walk_spine(scan_of(ranks, affine, parts), Oracle(), PATCH, Rules(most_passes=5))
        assert (walk.passes, walk.stopped, walk.decisions[-1].kind) == (5, "5 passes of the network", "limit")
        assert ranks_found(walk, ranks) == [1, 2, 3, 4, 5]
        walk = walk_spine(scan_of(ranks, affine, parts), Oracle(), PATCH, Rules(most_instances=3))
        assert (len(walk.instances), walk.stopped) == (3, "3 vertebrae")

    def test_spine_of_the_first_stage_without_vertebrae_is_said(self, spine):
        ranks, affine, parts = spine
        walk = walk_spine(scan_of(ranks, affine, parts), Oracle(blind=range(10, 17)), PATCH)
        assert "left over" in kinds(walk)


class TestOnePass:
    """One cube in the middle of the scan; the patch starts elsewhere."""

    def walk(self, mode: str, at: int) -> Walk:
        ranks = np.zeros((60, 60, 60), np.uint8)
        ranks[24:36, 24:36, at : at + CUBE] = 1
        return walk_spine(scan_of(ranks, ISOTROPIC), Oracle(), (60, 60, 60), Rules(mode))

    def test_well_inside_the_patch_is_enough(self):
        walk = self.walk("jump", 20)
        assert walk.instances[0].passes == 1
        assert walk.passes == 2  # and a look at where the next would be

    def test_the_reference_goes_there_and_looks_again(self):
        assert self.walk("reference", 10).instances[0].passes == 2
        assert self.walk("reference", 24).instances[0].passes == 2  # the first step is none to rest on

    def test_at_the_upper_face_of_the_patch_another_may_come_before(self):
        assert self.walk("jump", 42).instances[0].passes == 2  # 12 mm below the face


class TestFragments:
    def find(self, probability: np.ndarray, taken=None, start=(0, 0, 0)):
        taken = np.zeros((20, 20, 20), np.uint8) if taken is None else taken
        return find_fragment(probability, start, taken, ISOTROPIC, threshold=0.5, smallest_mm3=500)

    def test_small_pieces_are_dropped_unless_the_scan_cuts_them(self):
        probability = np.zeros((20, 20, 20))
        probability[5:12, 5:12, 5:12] = 0.9
        probability[15:17, 5:8, 5:8] = 0.9  # 144 mm³, 6 mm away
        probability[5:8, 5:8, 0:2] = 0.9  # as small, at the face of the scan, 6 mm away
        found = self.find(probability)
        assert np.count_nonzero(found.mask) == 7**3 + 18
        assert found.cut and found.start.tolist() == [5, 5, 0]
        assert self.find(np.zeros((20, 20, 20))) is None

    def test_what_is_taken_stays(self):
        probability = np.full((20, 20, 20), 0.7)
        taken = np.zeros((20, 20, 20), np.uint8)
        taken[:, :, :12] = 3
        found = self.find(probability, taken)
        assert found.start.tolist() == [0, 0, 12] and found.mask.all()
        assert found.probability.dtype == np.float16 and float(found.probability[0, 0, 0]) == pytest.approx(
            0.7, abs=1e-3
        )

    def test_a_patch_beyond_the_scan(self):
        found = self.find(np.ones((20, 20, 20)), start=(-10, 15, 0))
        assert found.box == (slice(0, 10), slice(15, 20), slice(0, 20))
        assert self.find(np.ones((20, 20, 20)), start=(30, 0, 0)) is None


def test_scans_share_the_batches_of_a_network(spine):
    rng = np.random.default_rng(5)
    made = [blob_spine(rng, first, first + n) for first, n in ((0, 5), (12, 9), (8, 3), (20, 4))]
    scans = [scan_of(ranks, affine, spine_parts(regions, affine)) for ranks, regions, affine in made]
    empty = np.zeros((20, 20, 20), np.uint8)
    scans.insert(2, scan_of(empty, ISOTROPIC, ()))
    sizes = []

    def counting(patches):
        sizes.append(len(patches))
        return Oracle()(patches)

    together = list(walk_spines(iter(scans), counting, PATCH, batch_size=3))
    alone = [walk_spine(scan, Oracle(), PATCH) for scan in scans]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one.labels, other.labels)
        assert one.decisions == other.decisions
    assert max(sizes) == 3
    assert len(sizes) < sum(walk.passes for walk in alone) == sum(sizes)


def test_the_network_gets_image_and_memory():
    ranks = np.zeros((30, 30, 30), np.uint8)
    ranks[4:16, 4:16, 14:26] = 1
    seen = []

    def segment(patches):
        seen.append(patches.copy())
        return Oracle()(np.maximum(patches, 0))

    walk_spine(scan_of(ranks, ISOTROPIC), segment, (40, 40, 40), padding=-7.0)
    assert seen[0].shape == (1, 2, 40, 40, 40) and seen[0].dtype == np.float32
    assert set(np.unique(seen[0][:, 0]).tolist()) == {-7.0, 0.0, 1.0}
    assert not seen[0][:, 1].any()
    assert np.array_equal(seen[-1][:, 1] == 1, seen[-1][:, 0] == 1)  # once found, all of it is in the memory


class TestParts:
    def test_the_line_runs_through_the_bodies_with_their_regions(self):
        ranks, regions, affine = blob_spine(np.random.default_rng(4), 5, 22, "SAL")
        (part,) = spine_parts(regions, affine)
        assert part.line_mm[0, 2] > part.line_mm[-1, 2]
        assert part.region.tolist() == sorted(part.region.tolist())
        assert set(part.region.tolist()) == {1, 2, 3}
        for rank in range(1, 18):
            front = np.argwhere(ranks == rank) @ affine[:3, :3].T + affine[:3, 3]
            body = front[front[:, 1] > np.median(front[:, 1])].mean(0)
            assert np.linalg.norm(part.line_mm - body, axis=1).min() < 12

    def test_crumbs_are_no_part_and_labels_need_not_be_regions(self):
        mask = np.zeros((40, 40, 40), np.uint8)
        mask[:4, :4, :4] = 1  # 0.5 cm³
        assert spine_parts(mask, ISOTROPIC) == ()
        mask[20:32, 20:32, 20:32] = 26
        (part,) = spine_parts(mask, ISOTROPIC, regions=False)
        assert set(part.region.tolist()) == {0}


class TestAgreement:
    reference = np.repeat(np.arange(5, dtype=np.uint8), 10).reshape(50, 1, 1)  # four vertebrae of ten voxels

    def agree(self, labels: np.ndarray, n: int):
        box = (slice(0, 1),) * 3
        found = tuple(
            Instance(i, (0.0,) * 3, 1.0, 1.0, False, 1, True, 0, box, np.zeros((1, 1, 1))) for i in range(1, n + 1)
        )
        return agreement(Walk(labels.reshape(50, 1, 1).astype(np.uint8), found, (), 6, ""), self.reference)

    def test_of_the_same(self):
        same = self.agree(self.reference, 4)
        assert (same.vertebrae, same.found, same.missed, same.merged, same.split, same.surplus) == (4, 4, 0, 0, 0, 0)
        assert same.in_order and same.mean_dice == 1 and same.passes_per_vertebra == 1.5

    def test_of_errors(self):
        labels = np.zeros(50)
        labels[10:29] = 1  # the first and nine tenths of the second
        labels[30:35], labels[35:40] = 2, 3  # halves of the third
        labels[:5] = 4  # nothing of any
        found = self.agree(labels, 4)
        assert (found.found, found.missed, found.merged, found.split, found.surplus) == (1, 1, 1, 1, 1)
        assert found.dice == pytest.approx((20 / 29, 18 / 29, 10 / 15, 0))

    def test_of_nothing(self):
        nothing = self.agree(np.zeros(50), 0)
        assert (nothing.found, nothing.missed, nothing.mean_dice) == (0, 4, 0)
        empty = agreement(Walk(np.zeros((3, 3, 3), np.uint8), (), (), 2, ""), np.zeros((3, 3, 3), np.uint8))
        assert empty.vertebrae == 0 and empty.mean_dice == 1 and np.isnan(empty.passes_per_vertebra)


def test_what_cannot_be_is_refused():
    for wrong in ({"mode": "fly"}, {"threshold": 0.0}, {"most_passes": 0}, {"most_instances": 255}):
        with pytest.raises(InputError):
            Rules(**wrong)
    with pytest.raises(InputError, match="image of shape"):
        walk_spine(Scan(np.zeros((4, 5, 6), np.float32), ISOTROPIC), Oracle(), PATCH)
