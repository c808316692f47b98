"""Second stage of the cascade of Masuzawa et al. 2020, after Lessmann et al. 2019: the next vertebra."""

from nnunet_spine.trainers.regions import PUBLISHED_TRAINING, SOURCE
from nnunet_spine.training.declaration import Declaration, Given, Refusal
from nnunet_spine.training.options import flag
from nnunet_spine.training.settings import Settings

TRAINER = Declaration(
    name="IterativeInstanceTrainer",
    summary="one vertebra after the other, given those already found: second stage of the cascade",
    citation="Masuzawa et al., MICCAI 2020, after Lessmann et al., MedIA 2019",
    parameters="as planned; with paper 5.65 M",
    description=(
        "Sees the scan and a memory of the vertebrae found so far, and segments the next one, from head to foot unless "
        "told otherwise; a further output says whether the whole of it is in view. For a dataset of vertebrae. Patches "
        "lie around vertebrae or anywhere; in a third all have been found and the target is empty; three in ten "
        "memories are faulty, as those of a walk may be (`nocorruption` leaves that out). The final validation walks "
        "along each validation scan, within the parts of its reference, and logs what was found, missed, merged and "
        "split, and the passes per vertebra. The source trains on 1 mm, clipped to [-512, 1024] HU (`nnunet-spine plan "
        "--spacing 1 --patch 128 128 128 --window -512 1024`); it prints neither patch size, order, sampling nor any "
        "threshold: these follow public code for Lessmann et al. or are ours."
    ),
    presets={
        "paper": {
            **PUBLISHED_TRAINING,
            "network.from_plans.input_ranges": Given(
                "nnunet_spine.training.ct_ranges.window_ranges_and_memory", f"{SOURCE}: [-512, 1024] HU to [-1, 1]"
            ),
            "loss.name": Given("Dice", SOURCE),
            "walking.completeness": Given(0.0, f"{SOURCE}: one output"),
            "walking.corruption": Given(0.0, f"{SOURCE}: none is stated"),
        },
    },
    options=(
        flag("up", {"walking.upwards": True}, "from foot to head"),
        flag("nocorruption", {"walking.corruption": 0.0}, "memories in training are right"),
        flag("corruption", {"walking.corruption": 0.3}, "three in ten memories in training are faulty"),
        flag("nocompleteness", {"walking.completeness": 0.0}, "no output that tells whether the vertebra is whole"),
    ),
    refuses=(Refusal("adversarial.kind", "virtual adversarial training needs one softmax; use fgsm or l2", "vat"),),
    settings=Settings(),
    supports_regions=False,
    predictor="nnunet-spine predict --instances",
    behaviour="nnunet_spine.training.next_vertebra.NextVertebraTrainer",
)
