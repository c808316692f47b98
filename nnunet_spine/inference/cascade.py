"""The cascade as a segmenter: regions, then one vertebra after the other, then names.

Source: Masuzawa et al. 2020. Regions come from nnU-Net's sliding window, parts of the spine and walks from `traversal`,
names from `labelling`. Each vertebra's probability is interpolated to the scan's grid, and the likeliest one taken.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from nnunet_spine import geometry
from nnunet_spine.anatomy import BY_NAME, REGION_IDS, REGION_NAMES
from nnunet_spine.errors import InputError
from nnunet_spine.inference.devices import find_device
from nnunet_spine.inference.model_networks import build_network, trainer_class
from nnunet_spine.inference.model_reading import read_model
from nnunet_spine.inference.models import Member, Model
from nnunet_spine.inference.scan_files import Scan
from nnunet_spine.inference.segmenters import Segmentation
from nnunet_spine.inference.single_stage import REORIENTING, OpenSingleStage, SingleStage
from nnunet_spine.instances import Bone
from nnunet_spine.io.preprocessed import affine_of_preprocessed
from nnunet_spine.labelling import Labelling
from nnunet_spine.naming import NamedBone, Relabelled
from nnunet_spine.training.next_vertebra import NextVertebraTrainer
from nnunet_spine.traversal import Rules, Walk, doubts, spine_parts, walk_spine
from nnunet_spine.traversal import Scan as Walked
from nnunet_spine.traversal.names import Evidence, detections_of, name_vertebrae
from nnunet_spine.traversal.network import NetworkSegmenter

_OUT_OF_MEMORY = ("out of memory", "not enough memory", "can't allocate memory")


@dataclass(frozen=True)
class Cascade:
    """How to open the two models; see `model_reading.read_model`.

    Attributes:
        regions: model of regions, or of vertebrae, whose names then speak for the level too.
        instances: model of `IterativeInstanceTrainer`.
        device: name of the device; None: a GPU if there is one.
        step_size: of the first stage's sliding window, as a share of the patch.
        mode: of the walk, see `traversal.Rules`.
        method: of the names, see `labelling.label_vertebrae`.
        normal: only spines of 12 thoracic and 5 lumbar levels.
        threads: of torch on CPU; None: as many as it likes.
    """

    regions: str
    instances: str
    device: str | None = None
    step_size: float = 0.5
    mode: str = "jump"
    method: str = "learned"
    normal: bool = False
    threads: int | None = None

    def open(self) -> "OpenCascade":
        """Read the models.

        Raises:
            InputError: one is missing, or of another kind.
        """
        first = SingleStage(
            self.regions, device=self.device, step_size=self.step_size, mirroring=False, threads=self.threads
        ).open()
        if first.table.kind not in ("regions", "vertebrae"):
            raise InputError(f"a model of {first.table.kind}", "give one of regions with --regions", first.member.path)
        model = read_model(self.instances)
        member = model.only_member()
        trainer = trainer_class(member.trainer, member.path)
        if not issubclass(trainer, NextVertebraTrainer):
            found = f"a model of {member.trainer}"
            raise InputError(found, "give one of IterativeInstanceTrainer with --instances", member.path)
        for stage in (first.member, member):
            if stage.plans["image_reader_writer"] != REORIENTING:
                found = f"a model of images read by {stage.plans['image_reader_writer']}"
                raise InputError(found, f"expected {REORIENTING}: a walk needs to know where the head is", stage.path)
        networks, device = [], find_device(self.device)
        for weights in member.folds.values():
            network = build_network(member)
            network.load_state_dict(weights)
            networks.append(network.to(device).eval())
        rules = Rules(self.mode, trainer.settings.walking.upwards)
        return OpenCascade(self, first, model, member, NetworkSegmenter(tuple(networks), device), rules)


@dataclass(frozen=True, eq=False)
class OpenCascade:
    """Both models in memory; see `segmenters.OpenSegmenter`."""

    spec: Cascade
    first: OpenSingleStage
    model: Model
    member: Member
    segmenter: NetworkSegmenter
    rules: Rules

    @property
    def identity(self) -> dict[str, Any]:
        one, two = self.first.identity, self.model.identity
        joined = {key: f"{one[key]}, then {two[key]}" for key in ("name", "path", "sha256", "training_data")}
        licence = one["licence"] if one["licence"] == two["licence"] else f"{one['licence']}, then {two['licence']}"
        return {**joined, "licence": licence, "members": [*one["members"], *two["members"]]}

    @property
    def device(self) -> str:
        return str(self.segmenter.device)

    @property
    def settings(self) -> object:
        spec = self.spec
        return [self.first.settings, self.model.sha256, asdict(self.rules), spec.method, spec.normal]

    def peak_bytes(self, shape: tuple[int, ...], affine: np.ndarray) -> float:
        """Memory of one scan: that of the first stage, or of the walk and the export."""
        voxels = float(np.prod(shape))
        mm3 = voxels * abs(float(np.linalg.det(np.asarray(affine, float)[:3, :3])))
        _, configuration = self.member.managers()
        inside = mm3 / float(np.prod(configuration.spacing))
        return max(self.first.peak_bytes(shape, affine), 28 * voxels + 16 * inside)

    def segment(self, scan: Scan) -> Segmentation:
        """See `segmenters.OpenSegmenter`; the vertebrae are named."""
        seconds: dict[str, float] = {}
        with _out_of_memory():
            with _timed(seconds, "regions"):
                regions, levels = self._regions(scan)
                ids = np.where(regions.values.sum(0) >= 0.5, 1 + regions.values.argmax(0), 0).astype(np.uint8)
                parts = spine_parts(ids, regions.affine)
            with _timed(seconds, "walk"):
                _, configuration = self.member.managers()
                image, affine = prepared(scan, self.member)
                walk = walk_spine(Walked(image, affine, parts), self.segmenter, configuration.patch_size, self.rules)
            with _timed(seconds, "names"):
                labelling = name_vertebrae(
                    walk, affine, regions=regions, levels=levels, method=self.spec.method, normal=self.spec.normal
                )
                detections = detections_of(walk, affine, regions=regions, levels=levels)
            with _timed(seconds, "export"):
                instances = on_grid(walk, affine, scan.voxels.shape, scan.affine)
        named = _named(walk, instances, labelling, [d.position_mm for d in detections], scan.affine)
        details = {
            "parts_of_the_spine": len(parts),
            "passes_per_vertebra": round(walk.passes_per_vertebra, 3) if walk.instances else None,
            "doubts": [asdict(doubt) for doubt in doubts(walk)],
            "walk": walk.as_dict(),
        }
        return Segmentation(named.labels, "vertebrae", seconds, details, named)

    def _regions(self, scan: Scan) -> tuple[Evidence, Evidence | None]:
        """Probabilities of the regions, and the levels if the first model names them."""
        image, affine = prepared(scan, self.first.member)
        logits = self.first.predictor.predict_logits_from_preprocessed_data(torch.from_numpy(image)).cpu()
        labels = self.first.member.dataset_json["labels"]
        names = {value: name for name, value in labels.items() if name not in ("background", "ignore")}
        region_of = {value: _region(name) for value, name in names.items()}
        regions = np.zeros((3, *logits.shape[1:]), np.float16)
        levels = np.zeros(logits.shape[1:], np.uint8) if self.first.table.kind == "vertebrae" else None
        ids = np.zeros(256, np.uint8)
        for value, name in names.items():
            ids[value] = BY_NAME[name].nnunet_id if name in BY_NAME else 0
        for i in range(logits.shape[1]):  # a slice at a time, to spare memory
            probability = logits[:, i].float().softmax(0).numpy()
            for value, region in region_of.items():
                if region:
                    regions[region - 1, i] += probability[value].astype(np.float16)
            if levels is not None:
                levels[i] = ids[probability.argmax(0)]
        return Evidence(regions, affine), None if levels is None else Evidence(levels, affine)


def _region(name: str) -> int:
    """1 cervical, 2 thoracic, 3 lumbar, 0 for what is none of them."""
    if name in BY_NAME:
        return REGION_IDS[name[0]]
    return next((REGION_IDS[region] for region, full in REGION_NAMES.items() if full == name), 0)


def prepared(scan: Scan, member: Member) -> tuple[np.ndarray, np.ndarray]:
    """A scan as a model's network sees it (c, *spatial), and the affine of that array.

    Args:
        scan: CT.
        member: whose plans name a reader that turns scans to RAS.
    """
    plans, configuration = member.managers()
    seen, affine = geometry.reorient(scan.voxels, scan.affine)
    properties: dict[str, Any] = {"spacing": geometry.spacing_mm(affine)[::-1].tolist()}
    preprocessor = configuration.preprocessor_class(verbose=False)
    data, _, properties = preprocessor.run_case_npy(
        seen.transpose(2, 1, 0)[None], None, properties, plans, configuration, member.dataset_json
    )
    properties = {**properties, "nibabel_stuff": {"reoriented_affine": affine}}
    return np.asarray(data), affine_of_preprocessed(properties, data.shape[1:], plans.transpose_forward)


def on_grid(
    walk: Walk, affine: np.ndarray, shape: tuple[int, int, int], target_affine: np.ndarray, threshold: float = 0.5
) -> np.ndarray:
    """The instances of a walk on another grid: of their interpolated probabilities the largest, from a threshold on.

    Args:
        walk: see `walk_spine`.
        affine: of its scan.
        shape, target_affine: the wanted grid.
        threshold: probability.

    Returns:
        Numbers of the instances, uint8, first axis fastest in memory.
    """
    labels, best = np.zeros(shape, np.uint8, order="F"), np.full(shape, threshold, np.float16, order="F")
    for instance in walk.instances:
        probability = np.pad(instance.probability, 1)  # falls to 0 beyond its outermost voxels
        own = np.array(affine, float)
        own[:3, 3] = geometry.to_world(affine, [s.start - 1 for s in instance.box])
        box = geometry.covered_box(shape, target_affine, probability.shape, own)
        size = tuple(s.stop - s.start for s in box)
        if not all(size):
            continue
        there = np.array(target_affine, float)
        there[:3, 3] = geometry.to_world(target_affine, [s.start for s in box])
        values = geometry.resample_linear(probability, own, size, there)
        larger = values >= best[box]
        best[box][larger] = values[larger]
        labels[box][larger] = instance.number
    return labels


def _named(
    walk: Walk, instances: np.ndarray, labelling: Labelling, bodies: list[tuple], affine: np.ndarray
) -> Relabelled:
    """The decided names as `predict` reports them; what is no vertebra leaves the map."""
    ids = np.zeros(256, np.uint8)
    voxels = np.bincount(instances.ravel(order="K"), minlength=len(walk.instances) + 1)
    voxel_mm3 = float(abs(np.linalg.det(np.asarray(affine, float)[:3, :3])))
    bones = []
    for instance, name, body_mm in zip(walk.instances, labelling.names, bodies, strict=True):
        level = name.name if name.name in BY_NAME else None
        ids[instance.number] = BY_NAME[level].nnunet_id if level else 0
        n = int(voxels[instance.number])
        bone = Bone(instance.number, body_mm, None, n * voxel_mm3, {int(ids[instance.number]): n}, {}, instance.cut)
        bones.append(NamedBone(bone, {}, level, name.probability, name.runner_up, name.margin))
    unsure = "" if walk.instances else "no vertebra found"
    return Relabelled(ids[instances], tuple(bones), (), unsure, labelling if walk.instances else None)


@contextmanager
def _timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[step] = round(time.perf_counter() - start, 3)


@contextmanager
def _out_of_memory() -> Iterator[None]:
    """Torch's ways to say it, as `MemoryError`."""
    try:
        yield
    except RuntimeError as error:
        if any(words in str(error) for words in _OUT_OF_MEMORY):
            raise MemoryError(str(error)) from error
        raise
