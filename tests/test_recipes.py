"""Recipes: what a name comes to, which names are refused and why; all of it without torch."""

import pickle
import pydoc
import subprocess
import sys

import pytest

from nnunet_spine import cli, trainers
from nnunet_spine.errors import InputError
from nnunet_spine.losses import LOSS_NAMES
from nnunet_spine.trainers import TRAINERS, ConvLSTMTrainer, get_recipe, get_trainer
from nnunet_spine.training.declaration import Declaration, Given
from nnunet_spine.training.options import choice, flag, integer, number
from nnunet_spine.training.recipes import options_of, parse_recipe, shortest, words_of
from nnunet_spine.training.settings import Augmentation, Loss, Settings


def test_a_recipe_is_its_trainer_with_settings():
    trainer = trainers.ConvLSTMTrainer_DiceFocalTversky_skips2_100epochs
    assert issubclass(trainer, ConvLSTMTrainer)
    assert trainer.__name__ == "ConvLSTMTrainer_DiceFocalTversky_skips2_100epochs"
    assert trainer.settings.loss.name == "DiceFocalTversky"
    assert trainer.settings.network.options == {"n_convlstm_skips": 2}
    assert trainer.settings.optimisation.epochs == 100
    assert ConvLSTMTrainer.settings.optimisation.epochs == 1000


def test_options_of_the_network_are_merged():
    settings = get_recipe("ConvLSTMTrainer_uni_dense3_skips1_checkpointing_hidden25").settings
    assert settings.network.options == {
        "convlstm": "uni",
        "dense_blocks": 3,
        "n_convlstm_skips": 1,
        "checkpoint_cells": True,
        "hidden_fraction": 0.25,
    }


def test_paper_preset_and_options_that_change_it_in_any_order():
    for name in ("ConvLSTMTrainer_paper_80epochs", "ConvLSTMTrainer_80epochs_paper"):
        settings = get_recipe(name).settings
        found = settings.optimisation
        assert (found.optimiser, found.rate, found.schedule, found.epochs) == ("Adam", 1e-4, "plateau", 80)
        assert settings.loss.name == "DiceFocalTversky"


def test_recipes_of_publications():
    """Each value is in the paper, or our choice where it is silent; the declarations name the sources."""
    settings = get_recipe("ConvLSTMTrainer_paper").settings
    assert settings.network.architecture.endswith("BCDUNet")
    assert (settings.network.deep_supervision, settings.optimisation.batch_size) == (False, 2)
    edge, plain = (get_recipe(f"GlobalConvTrainer_paper{loss}").settings for loss in ("", "_CE"))
    assert (edge.loss, plain.loss) == (Loss("EdgeCE", {"edge_weight": 1.1}), Loss("CE"))
    assert edge.augmentation.kind == "none"
    assert (edge.adversarial.kind, edge.adversarial.warmup, edge.sampling.centred_mm) == ("fgsm", 0.0, 0.0)
    settings = get_recipe("MobileASPPTrainer_paper").settings
    assert settings.optimisation.epochs * settings.optimisation.steps == 1500
    assert settings.optimisation.batch_size == 4
    for name, degrees, sizes in (("AttentionTrainer", 20, (0.6, 1.4)), ("Hybrid2D3DTrainer", 2, (0.9, 1.1))):
        found = get_recipe(f"{name}_paper").settings
        assert (found.augmentation.rotation_deg, found.augmentation.scaling) == (degrees, sizes)
        assert found.augmentation.in_plane
        assert found.augmentation.always
        assert found.network.options["diffusion"]
        assert get_recipe(f"{name}_paper_diffusion").repetitions() == ("diffusion",)
    assert get_recipe("Hybrid2D3DTrainer_paper").settings.loss == Loss("SquaredDice")


def test_numbers_in_options():
    name = "SpineTrainer_lr5e-4_20iters_3valiters_save2_batch4_Adam_constant_noaug_nods_nocompile_seed7"
    settings = get_recipe(name).settings
    found = settings.optimisation
    assert (found.rate, found.steps, found.validation_steps, found.save_every) == (5e-4, 20, 3, 2)
    assert (found.batch_size, found.optimiser, found.schedule) == (4, "Adam", "constant")
    assert settings.augmentation.kind == "none"
    assert settings.sampling.seed == 7
    assert not settings.network.deep_supervision
    assert not settings.network.compile
    assert get_recipe("SpineTrainer_lr0p001").settings.optimisation.rate == 0.001


@pytest.mark.parametrize("loss", LOSS_NAMES)
def test_every_loss_is_an_option_of_every_trainer_that_has_none_of_its_own(loss):
    for name, declaration in TRAINERS.items():
        if declaration.own_loss is None:
            assert get_recipe(f"{name}_{loss}").settings.loss.name == loss


def test_another_loss_does_not_inherit_options():
    made = Declaration("T", "", "", "", settings=Settings(loss=Loss("EdgeCE", {"edge_weight": 3.0})))
    assert parse_recipe("T", {"T": made}).settings.loss.options == {"edge_weight": 3.0}
    assert parse_recipe("T_Dice", {"T": made}).settings.loss == Loss("Dice")
    assert parse_recipe("T_DiceEdgeCE2", {"T": made}).settings.loss == Loss("DiceEdgeCE", {"edge_weight": 2.0})


@pytest.mark.parametrize("name", ["ConvLSTMTrainer", "ConvLSTMTrainer_skips1_5epochs"])
def test_classes_pickle_as_the_same_object(name):
    trainer = get_trainer(name)
    assert pickle.loads(pickle.dumps(trainer)) is trainer
    assert get_trainer(name) is trainer


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ConvLSTMTrainer_skip2", r"unknown option 'skip2'\. Did you mean 'skips2'\?"),
        ("ConvLSTMTrainer_papr", r"unknown option 'papr'\. Did you mean 'paper'\?"),
        ("ConvLSTMTrainer_30epoch", r"unknown option '30epoch'\. Did you mean '30epochs'\?"),
        ("ConvLSTMTrainer_dicece", "Did you mean 'DiceCE'"),
        ("ConvLSTMTrainer_Xyz123", r"unknown option 'Xyz123'\. `nnunet-spine trainers ConvLSTMTrainer` lists"),
        ("ConvLSTMTrainer__skips2", "unknown option ''"),
        ("SpineTrainer_skips2", "unknown option 'skips2'. It is an option of ConvLSTMTrainer"),
        ("SpineTrainer_paper", "unknown option 'paper'. It is an option of AttentionTrainer, ConvLSTMTrainer, "),
        ("ConvLSTMTrainer_lr0e0", "'lr0e0': expected a number above 0"),
        ("ConvLSTMTrainer_0epochs", "'0epochs': expected a whole number of at least 1"),
        ("ConvLSTMTrainer_skips99", "'skips99': expected a whole number of at least 0 and at most 9"),
        ("ConvLSTMTrainer_hidden101", "at most 100"),
        ("GlobalConvTrainer_kernel8", "expected an odd number"),
        ("ConvLSTMTrainer_Dice_Tversky", "'Dice' and 'Tversky' both set loss.name"),
        ("ConvLSTMTrainer_Dice_EdgeCE2", "'Dice' and 'EdgeCE2' both set loss.name"),
        ("ConvLSTMTrainer_Dice_Dice", "'Dice' and 'Dice' both set"),
        ("ConvLSTMTrainer_paper_nnunet", "'paper' and 'nnunet' both set preset"),
        ("ConvLSTMTrainer_uni_bi", "'uni' and 'bi' both set"),
        ("GlobalConvTrainer_noadversarial_l2", "both set adversarial.kind"),
        ("NoSuchTrainer", r"no trainer 'NoSuchTrainer'\. There is AttentionTrainer, "),
        (
            "ConvLTSMTrainer",
            r"no trainer 'ConvLTSMTrainer'\. Did you mean ConvLSTMTrainer\? There is AttentionTrainer, ",
        ),
    ],
)
def test_wrong_recipes_say_what_may_have_been_meant(name, message):
    with pytest.raises(InputError, match=message) as error:
        get_trainer(name)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("MobileASPPTrainer_noaug_flips", "'flips' changes nothing: there is no augmentation"),
        ("MobileASPPTrainer_flips_noaug", "'flips' changes nothing: there is no augmentation"),
        ("GlobalConvTrainer_noadversarial_eps0p05", "'eps0p05' changes nothing: there is no adversarial term"),
        ("SpineTrainer_5epochs_save50", "'save50' changes nothing: the training ends before"),
        ("SpineTrainer_eps0p02", "'eps0p02' changes nothing: there is no adversarial term"),
        ("MobileASPPTrainer_Dice_separation", "'separation' changes nothing: the loss Dice has no such weights"),
        ("ConvLSTMTrainer_skips0_hidden25", "'hidden25' changes nothing: skips0 leaves no ConvLSTM cell"),
        ("AttentionTrainer_Dice", "'Dice' is not for AttentionTrainer: it has its own loss"),
        ("AttentionTrainer_EdgeCE2", "'EdgeCE2' is not for AttentionTrainer: it has its own loss"),
        ("AttentionTrainer_vat", "'vat' is not for AttentionTrainer: .*needs classes"),
        ("Hybrid2D3DTrainer_nods", "'nods' is not for Hybrid2D3DTrainer: its network has one output"),
        ("MobileASPPTrainer_paper_nods", "one output"),
        ("MobileASPPTrainer_unet_noaspp", "'noaspp' changes nothing: the U-Net has neither backbone nor"),
        ("MobileASPPTrainer_resnet18_unet", "'resnet18' changes nothing: the U-Net has neither backbone nor"),
        ("ConvLSTMTrainer_paper_skips4", "the published network has 3 skips"),
    ],
)
def test_an_option_that_would_be_ignored_is_refused_with_the_reason(name, message):
    with pytest.raises(InputError, match=message):
        get_recipe(name)


def test_options_that_say_what_holds_anyway_are_known():
    assert get_recipe("ConvLSTMTrainer_paper_50epochs_Adam_skips2").repetitions() == ("50epochs", "Adam")


def test_the_shortest_name_sets_the_same():
    recipe = get_recipe("SpineTrainer_adversarial_SGD_100epochs_poly")
    assert shortest(recipe) == "SpineTrainer_fgsm_100epochs"
    assert get_recipe(shortest(recipe)).settings == recipe.settings
    assert shortest(get_recipe("ConvLSTMTrainer_50epochs_paper_skips2")) == "ConvLSTMTrainer_paper_skips2"


def test_a_foreign_name_is_simply_not_there():
    assert not hasattr(trainers, "nnUNetTrainer_5epochs")
    assert not hasattr(trainers, "no_such_thing")


@pytest.mark.parametrize("name", list(TRAINERS))
def test_option_examples_are_listed_once_and_valid_where_they_have_an_effect(name):
    words = [word for option in options_of(TRAINERS[name]) for word in words_of(option, TRAINERS[name])]
    assert len(words) == len(set(words))
    for word in words:
        try:
            assert get_recipe(f"{name}_{word}").trainer is TRAINERS[name]
        except InputError as error:
            assert "changes nothing" in str(error)


@pytest.mark.parametrize("name", list(TRAINERS))
def test_trainers_describe_themselves(name):
    declaration = TRAINERS[name]
    assert declaration.summary
    assert declaration.citation
    assert declaration.parameters
    assert declaration.recommended in ("2d", "3d_fullres")
    assert "nnunet" in declaration.presets
    assert "__init__" not in vars(get_trainer(name))
    for preset, given in declaration.presets.items():
        recipe = get_recipe(f"{name}_{preset}")
        assert all(value.source for value in given.values())
        assert not recipe.idle().keys() & given.keys()  # a preset says nothing in vain


def test_names_in_checkpoints_and_plans_are_stable():
    """Whoever trained with them asks for them again at prediction."""
    assert set(TRAINERS) == {
        "AttentionTrainer",
        "ConvLSTMTrainer",
        "GlobalConvTrainer",
        "Hybrid2D3DTrainer",
        "IterativeInstanceTrainer",
        "MobileASPPTrainer",
        "RegionTrainer",
        "SpineTrainer",
        "StarterTrainer",
    }
    assert {t.settings.network.architecture for t in TRAINERS.values()} == {
        None,
        "nnunet_spine.architectures.attention_net.AttentionNet",
        "nnunet_spine.architectures.convlstm_unet.ConvLSTMUNet",
        "nnunet_spine.architectures.global_conv_net.GlobalConvNet",
        "nnunet_spine.architectures.hybrid_2d3d.Hybrid2D3D",
        "nnunet_spine.architectures.mobile_aspp.MobileASPPNet",
        "nnunet_spine.architectures.slim_unet.SlimUNet",
    }
    for name in ("bcdu_net.BCDUNet", "small_unet.SmallUNet"):  # which recipes name
        assert pydoc.locate(f"nnunet_spine.architectures.{name}").__name__ == name.split(".")[1]
    for name in TRAINERS:
        assert f"{get_trainer(name).__module__}.{get_trainer(name).__qualname__}" == f"nnunet_spine.trainers.{name}"


def test_lists_and_errors_import_no_torch():
    code = (
        "import sys\n"
        "from nnunet_spine.cli import main\n"
        "assert main(['trainers', 'GlobalConvTrainer_paper']) == 0 and main(['trainers', 'SpineTrainer_papr']) == 2\n"
        "assert not {'torch', 'nnunetv2', 'batchgeneratorsv2'} & set(sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8")
    assert result.returncode == 0, result.stderr


def test_a_new_trainer_is_one_new_file(tmp_path, monkeypatch, capsys):
    """And an option of it one line in that file."""
    (tmp_path / "wide.py").write_text(
        "from nnunet_spine.training.declaration import Declaration, Given\n"
        "from nnunet_spine.training.options import integer\n"
        "from nnunet_spine.training.settings import Augmentation, Settings\n"
        "TRAINER = Declaration(\n"
        "    name='WideTrainer', summary='turns further', citation='nobody', parameters='as planned',\n"
        "    settings=Settings(augmentation=Augmentation(rotation_deg=45.0)),\n"
        "    presets={'paper': {'loss.name': Given('Dice', 'nobody, section 2')}},\n"
        "    options=(integer('turn{}', 'augmentation.rotation_deg', 'limit in degrees', example=60, at_most=90),),\n"
        ")\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(trainers, "__path__", [*trainers.__path__, str(tmp_path)])
    monkeypatch.setitem(TRAINERS, "WideTrainer", trainers._declared()["WideTrainer"])
    assert cli.main(["trainers", "WideTrainer_paper_turn30"]) == 0
    said = capsys.readouterr().out
    assert "loss.name                      Dice  (paper: nobody, section 2)" in said
    assert "30  (option turn30)" in said
    assert get_trainer("WideTrainer_turn30").settings.augmentation.rotation_deg == 30
    assert cli.main(["trainers", "WideTrainer_turn91"]) == 2


def test_a_misspelt_address_is_an_error():
    with pytest.raises(ValueError, match=r"settings have no 'optimisation\.epoch'"):
        Settings().changed({"optimisation.epoch": 3})
    with pytest.raises(ValueError, match=r"settings have no 'loss\.nme'"):
        Declaration("T", "", "", "", presets={"paper": {"loss.nme": Given("Dice", "")}})
    with pytest.raises(ValueError, match="settings have no 'noise'"):
        Settings().value("noise")


def test_one_line_is_an_option():
    made = Declaration(
        "T",
        "",
        "",
        "",
        options=(
            flag("turned", {"augmentation.rotation_deg": 90.0, "augmentation.kind": "spatial"}, ""),
            choice({"wide": 64, "slim": 8}, "network.options.width", ""),
            integer("depth{}", "network.options.depth", "", example=3, at_least=2),
            number("drop{}", "network.options.dropout", "", example="0p5"),
        ),
    )
    settings = parse_recipe("T_turned_slim_depth4_drop0p25", {"T": made}).settings
    assert settings.augmentation == Augmentation("spatial", rotation_deg=90.0)
    assert settings.network.options == {"width": 8, "depth": 4, "dropout": 0.25}
    with pytest.raises(InputError, match=r"'depth1': expected a whole number of at least 2\. For example depth3"):
        parse_recipe("T_depth1", {"T": made})
