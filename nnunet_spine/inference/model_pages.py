"""What a model is, as a page."""

from nnunet_spine.errors import InputError
from nnunet_spine.inference.model_cards import NOT_STATED, Card, markdown
from nnunet_spine.inference.model_networks import build_network
from nnunet_spine.inference.models import Member, Model


def page_of(model: Model) -> str:
    """The card of a model with the facts of its networks; a folder has no card, so its entries are "not stated"."""
    return markdown(model.card or Card(model.name, NOT_STATED, NOT_STATED, use=""), facts_of(model))


def facts_of(model: Model) -> dict[str, str]:
    """Facts that need no word of the author: title -> value."""
    facts = {"SHA-256": model.sha256}
    for member in model.members:
        prefix = f"{member.role}: " if len(model.members) > 1 else ""
        facts |= {f"{prefix}{title}": value for title, value in _facts(member).items()}
    return facts


def _facts(member: Member) -> dict[str, str]:
    _, configuration = member.managers()
    labels = [name for name in member.dataset_json["labels"] if name != "background"]
    return {
        "Trainer": member.trainer,
        "Configuration": f"{member.configuration} of {member.plans['plans_name']}, {member.plans['dataset_name']}",
        "Folds": ", ".join(member.folds),
        "Spacing": " x ".join(f"{mm:g}" for mm in configuration.spacing) + " mm",
        "Patch": " x ".join(map(str, configuration.patch_size)),
        "Mirroring at prediction": "none" if member.mirroring_axes is None else f"axes {list(member.mirroring_axes)}",
        "Labels": f"{len(labels)}: {', '.join(labels)}",
        "Parameters": _parameters(member),
    }


def _parameters(member: Member) -> str:
    try:
        return f"{sum(parameter.numel() for parameter in build_network(member).parameters()):,}"
    except InputError as error:
        return error.found
