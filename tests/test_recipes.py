import pickle

import pytest

from nnunet_spine import trainers
from nnunet_spine.errors import InputError
from nnunet_spine.losses import LOSS_NAMES
from nnunet_spine.trainers import TRAINERS, ConvLSTMTrainer, get_trainer
from nnunet_spine.training.recipes import options_of


def test_a_recipe_is_its_trainer_with_settings():
    trainer = trainers.ConvLSTMTrainer_DiceFocalTversky_skips2_100epochs
    assert issubclass(trainer, ConvLSTMTrainer)
    assert trainer.__name__ == "ConvLSTMTrainer_DiceFocalTversky_skips2_100epochs"
    assert trainer.loss_name == "DiceFocalTversky"
    assert trainer.architecture_kwargs == {"n_convlstm_skips": 2}
    assert trainer.num_epochs == 100
    assert ConvLSTMTrainer.num_epochs == 1000


def test_options_of_one_attribute_are_merged():
    trainer = get_trainer("ConvLSTMTrainer_uni_dense3_skips1_checkpointing")
    assert trainer.architecture_kwargs == {
        "convlstm": "uni",
        "dense_blocks": 3,
        "n_convlstm_skips": 1,
        "checkpoint_cells": True,
    }


def test_paper_preset_and_options_that_change_it_in_any_order():
    for name in ("ConvLSTMTrainer_paper_80epochs", "ConvLSTMTrainer_80epochs_paper"):
        trainer = get_trainer(name)
        assert (trainer.optimizer_name, trainer.initial_lr, trainer.lr_schedule) == ("Adam", 1e-4, "plateau")
        assert trainer.loss_name == "DiceFocalTversky"
        assert trainer.num_epochs == 80


def test_numbers_in_options():
    trainer = get_trainer("SpineTrainer_lr5e-4_20iters_3valiters_save2_Adam_constant_noaug_nods_nocompile")
    assert trainer.initial_lr == 5e-4
    assert (trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch, trainer.save_every) == (20, 3, 2)
    assert (trainer.optimizer_name, trainer.lr_schedule, trainer.augmentation) == ("Adam", "constant", "none")
    assert not trainer.deep_supervision
    assert not trainer.compile_network


@pytest.mark.parametrize("loss", LOSS_NAMES)
def test_every_loss_is_an_option_of_every_trainer(loss):
    for name in TRAINERS:
        assert get_trainer(f"{name}_{loss}").loss_name == loss


@pytest.mark.parametrize("name", ["ConvLSTMTrainer", "ConvLSTMTrainer_skips1_5epochs"])
def test_classes_pickle_as_the_same_object(name):
    trainer = get_trainer(name)
    assert pickle.loads(pickle.dumps(trainer)) is trainer


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ConvLSTMTrainer_skip2", "unknown option 'skip2'.*100epochs.*skips2"),
        ("ConvLSTMTrainer__skips2", "unknown option ''"),
        ("ConvLSTMTrainer_lr0e0", "unknown option 'lr0e0'"),
        ("ConvLSTMTrainer_0epochs", "unknown option '0epochs'"),
        ("SpineTrainer_skips2", "unknown option 'skips2'"),
        ("ConvLSTMTrainer_Dice_Tversky", "'Dice' and 'Tversky' both set the loss"),
        ("ConvLSTMTrainer_uni_bi", "'uni' and 'bi' both set"),
        ("SpineTrainer_paper", "unknown option 'paper'"),
        ("ConvLTSMTrainer", "no trainer 'ConvLTSMTrainer'. There is SpineTrainer, ConvLSTMTrainer"),
    ],
)
def test_wrong_recipes_say_what_is_known(name, message):
    with pytest.raises(InputError, match=message):
        get_trainer(name)


def test_a_foreign_name_is_simply_not_there():
    assert not hasattr(trainers, "nnUNetTrainer_5epochs")


@pytest.mark.parametrize("name", list(TRAINERS))
def test_option_examples_are_valid_and_listed_once(name):
    options = options_of(TRAINERS[name])
    words = [word for option in options for word in option.example.split("|")]
    assert len(words) == len(set(words))
    for word in words:
        assert issubclass(get_trainer(f"{name}_{word}"), TRAINERS[name])


@pytest.mark.parametrize("name", list(TRAINERS))
def test_trainers_describe_themselves(name):
    trainer = TRAINERS[name]
    assert trainer.summary
    assert trainer.citation
    assert trainer.parameters
    assert trainer.recommended in ("2d", "3d_fullres")
    assert "nnunet" in trainer.presets
    assert "__init__" not in vars(trainer) or name == "SpineTrainer"
