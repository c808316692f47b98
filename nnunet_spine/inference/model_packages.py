"""A trained model as one file: a zip of JSON and safetensors, with a checksum of each part and no pickled code.

`model.json` says what the file is, holds the card, names the members and the checksums. Each member is a folder named
after its role with `plans.json`, `dataset.json`, `dataset_fingerprint.json` where there was one, and
`fold_F.safetensors` for each fold. Equal tensors, of which nnU-Net's networks have many under several names, are stored
once. The same model gives the same bytes.
"""

import hashlib
import json
import pydoc
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from nnunet_spine import __version__
from nnunet_spine.errors import InputError
from nnunet_spine.inference.model_cards import Card
from nnunet_spine.inference.models import Member, Model, Weights, choose_folds, digest, weights_digest
from nnunet_spine.io.files import atomic_path

FORMAT, VERSION = "nnunet-spine model", 1
MANIFEST = "model.json"
FINGERPRINT = "dataset_fingerprint.json"
PRECISIONS = {"float32": torch.float32, "float16": torch.float16}
_MAX_JSON_BYTES = 64 * 2**20
_ALIASES = "aliases"
_OLD_AS_ZIP_ALLOWS = (1980, 1, 1, 0, 0, 0)
_AGAIN = "get the file again"

# What plans may name by a dotted path, since nnU-Net imports and calls it.
_TRUSTED_CODE = ("torch.nn.", "dynamic_network_architectures.", "nnunet_spine.architectures.")
_NAMES = {
    "role": r"[A-Za-z0-9_-]+",
    "trainer": r"[A-Za-z][\w-]*",
    "configuration": r"\w+",
    "fold": r"\d+|all",
    "dataset_name": r"Dataset\d{3,}_[\w-]+",
    "plans_name": r"[A-Za-z]\w*",
}


def write_package(model: Model, card: Card, path: str | Path, *, precision: str = "float32") -> Model:
    """Write a model as one file, atomically.

    Args:
        card: what to tell about it.
        precision: "float32", or "float16" for half the size; then the weights are rounded.

    Returns:
        The model as the file has it.

    Raises:
        InputError: a weight is beyond what float16 holds, or the model names code that a package may not.
        WriteError: the file cannot be written.
    """
    parts: dict[str, bytes] = {}
    for member in model.members:
        _check_member(member)
        named = {"plans.json": member.plans, "dataset.json": member.dataset_json, FINGERPRINT: member.fingerprint}
        for name, content in named.items():
            if content is not None:
                parts[f"{member.role}/{name}"] = _json_bytes(content)
        for fold, weights in member.folds.items():
            parts[f"{member.role}/fold_{fold}.safetensors"] = _weights_bytes(weights, precision, member.path)
    members = [_rounded(member, precision) for member in model.members]
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "sha256": digest(members),
        "card": card.to_json(),
        "members": [
            {
                "role": member.role,
                "trainer": member.trainer,
                "configuration": member.configuration,
                "mirroring_axes": member.mirroring_axes,
                "folds": list(member.folds),
                "precision": precision,
            }
            for member in members
        ],
        "made_with": {"nnunet-spine": __version__, "nnunetv2": version("nnunetv2"), "torch": torch.__version__},
        "files": {
            name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in parts.items()
        },
    }
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, content in {MANIFEST: _json_bytes(manifest), **parts}.items():
            info = zipfile.ZipInfo(name, _OLD_AS_ZIP_ALLOWS)
            info.external_attr = 0o644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED if name.endswith(".json") else zipfile.ZIP_STORED
            archive.writestr(info, content)
    return Model(card, tuple(members), Path(path), manifest["sha256"])


def read_package(path: str | Path, *, folds: Sequence[str] = ()) -> Model:
    """Read a file that `write_package` wrote.

    Args:
        folds: names; empty means all.

    Raises:
        InputError: it is something else, damaged, of another version, holds what a package may not, or lacks a fold.
    """
    path = Path(path)
    with _opened(path) as archive:
        manifest = _manifest(archive, path)
        package = _Package(archive, manifest, path)
        package.check_names()
        whole = not folds
        members = tuple(package.member(entry, folds) for entry in manifest["members"])
    for member in members:
        _check_member(member)
    found = digest(members)
    if whole and found != manifest.get("sha256"):
        raise InputError("is not the model that it says it is (other weights, plans or labels)", _AGAIN, path)
    return Model(Card.from_json(manifest.get("card"), path), members, path, found)


def read_manifest(path: str | Path) -> dict[str, Any]:
    """What a packaged model says of itself, without reading its weights.

    Raises:
        InputError: as `read_package`, as far as that can be seen without the weights.
    """
    with _opened(Path(path)) as archive:
        return _manifest(archive, Path(path))


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    if not path.is_file():
        raise InputError("no such file or folder", "check the path", path)
    try:
        with path.open("rb") as file:
            start = file.read(4)
        if start[:1] == b"\x80":
            cure = "give the folder of the model, or pack that with nnunet-spine model pack"
            raise InputError("a pickle, which could run any code; expected a packaged model", cure, path)
        if start[:2] != b"PK":
            raise InputError("no packaged model", "give a file of nnunet-spine model pack, or a model folder", path)
        with zipfile.ZipFile(path) as archive:
            yield archive
    except zipfile.BadZipFile as error:
        raise InputError(f"ends early or is damaged ({error})", _AGAIN, path) from error
    except (zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"cannot be read ({error})", _AGAIN, path) from error


def _manifest(archive: zipfile.ZipFile, path: Path) -> dict[str, Any]:
    names = archive.namelist()
    for name in names:
        if _leaves(name):
            raise InputError(f"holds a path that leaves the archive ('{name}')", "do not use this file", path)
    if len(set(names)) < len(names):
        raise InputError("holds two files of one name", "do not use this file", path)
    if MANIFEST not in names:
        if any(PurePosixPath(name).name == "data.pkl" for name in names):
            cure = "give the folder of the model, or pack that with nnunet-spine model pack"
            raise InputError("a checkpoint of torch, a pickle that could run any code", cure, path)
        if any(name.endswith(".pth") for name in names):
            cure = "install it with nnUNetv2_install_pretrained_model_from_zip if you trust it, and give the folder"
            raise InputError("an archive of nnU-Net with pickled checkpoints", cure, path)
        raise InputError(f"no packaged model: no {MANIFEST} in it", "give a file of nnunet-spine model pack", path)
    manifest = _read_json(archive, MANIFEST, path)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise InputError("no packaged model", "give a file of nnunet-spine model pack", path)
    if manifest.get("version") != VERSION:
        cure = "use the nnunet-spine that wrote it, or pack the model again"
        raise InputError(f"format version {manifest.get('version')}; expected {VERSION}", cure, path)
    if problem := _problem_of(manifest):
        raise InputError(f"{MANIFEST}: {problem}", _AGAIN, path)
    return manifest


def _problem_of(manifest: Mapping[str, Any]) -> str:
    """What is wrong with the form of a manifest, or nothing."""
    members, files = manifest.get("members"), manifest.get("files")
    if not isinstance(members, list) or not members or not all(isinstance(entry, dict) for entry in members):
        return "no members"
    if not isinstance(files, dict) or not all(
        isinstance(entry, dict) and type(entry.get("bytes")) is int and isinstance(entry.get("sha256"), str)
        for entry in files.values()
    ):
        return "no checksums"
    for entry in members:
        for name in ("role", "trainer", "configuration"):
            if not _is_name(name, entry.get(name)):
                return f"{name} '{entry.get(name)}' of a member"
        folds, axes = entry.get("folds"), entry.get("mirroring_axes")
        if not isinstance(folds, list) or not folds or not all(_is_name("fold", fold) for fold in folds):
            return f"folds {folds} of a member"
        if axes is not None and not (isinstance(axes, list) and all(axis in (0, 1, 2) for axis in axes)):
            return f"mirroring axes {axes}"
        if entry.get("precision") not in PRECISIONS:
            return f"precision {entry.get('precision')}"
    roles = [entry["role"] for entry in members]
    return "two members of one role" if len(set(roles)) < len(roles) else ""


@dataclass(frozen=True)
class _Package:
    archive: zipfile.ZipFile
    manifest: Mapping[str, Any]
    path: Path

    def check_names(self) -> None:
        """Check that the archive holds exactly the files of its members."""
        declared, there = set(self.manifest["files"]), set(self.archive.namelist()) - {MANIFEST}
        possible = set()
        for entry in self.manifest["members"]:
            weights = [f"fold_{fold}.safetensors" for fold in entry["folds"]]
            required = {f"{entry['role']}/{name}" for name in ("plans.json", "dataset.json", *weights)}
            possible |= required | {f"{entry['role']}/{FINGERPRINT}"}
            if missing := sorted(required - (declared & there)):
                raise InputError(f"{missing[0]} is missing", _AGAIN, self.path)
        if strange := sorted((declared | there) - possible) or sorted(declared ^ there):
            raise InputError(f"holds or names '{strange[0]}', which is no part of a model", "do not use it", self.path)

    def member(self, entry: Mapping[str, Any], folds: Sequence[str]) -> Member:
        role = entry["role"]
        fingerprint = f"{role}/{FINGERPRINT}"
        axes, chosen = entry["mirroring_axes"], choose_folds(entry["folds"], folds, self.path)
        return Member(
            role,
            entry["trainer"],
            entry["configuration"],
            None if axes is None else tuple(axes),
            self._object(f"{role}/plans.json"),
            self._object(f"{role}/dataset.json"),
            self._object(fingerprint) if fingerprint in self.manifest["files"] else None,
            {fold: self._weights(f"{role}/fold_{fold}.safetensors") for fold in chosen},
            self.path,
        )  # fmt: skip

    def _object(self, name: str) -> dict[str, Any]:
        try:
            content = json.loads(self._checked(name, _MAX_JSON_BYTES))
        except json.JSONDecodeError:
            content = None
        if not isinstance(content, dict):
            raise InputError(f"{name} is no JSON object", _AGAIN, self.path)
        return content

    def _weights(self, name: str) -> Weights:
        if self.archive.getinfo(name).compress_type != zipfile.ZIP_STORED:  # so its size is bounded by the file's
            raise InputError(f"{name} is compressed; expected weights as they are", "pack the model again", self.path)
        content = self._checked(name, self.path.stat().st_size)
        try:
            stored = safetensors.torch.load(content)
            length = int.from_bytes(content[:8], "little")
            aliases = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][_ALIASES])
            every = {**stored, **{alias: stored[original] for alias, original in aliases.items()}}
        except (safetensors.SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:
            raise InputError(f"{name} holds no weights ({error!r})", _AGAIN, self.path) from error
        whole = {key: value.float() if value.is_floating_point() else value for key, value in stored.items()}
        return {key: whole[aliases.get(key, key)] for key in every}

    def _checked(self, name: str, most: int) -> bytes:
        info, declared = self.archive.getinfo(name), self.manifest["files"][name]
        if info.file_size != declared["bytes"] or info.file_size > most:
            raise InputError(f"{name} has {info.file_size} bytes; expected {declared['bytes']}", _AGAIN, self.path)
        content = self.archive.read(name)
        if hashlib.sha256(content).hexdigest() != declared["sha256"]:
            raise InputError(f"wrong checksum of {name}: the file is damaged or was changed", _AGAIN, self.path)
        return content


def _check_member(member: Member) -> None:
    """Check that plans and labels are such, and that they name no code but networks'.

    Raises:
        InputError: they are not.
    """
    plans, path = member.plans, member.path
    configurations = plans.get("configurations")
    if not isinstance(configurations, dict) or not isinstance(configurations.get(member.configuration), dict):
        raise InputError(f"plans without configuration {member.configuration}", "pack the model again", path)
    for name in ("dataset_name", "plans_name"):
        if not _is_name(name, plans.get(name)):
            raise InputError(f"plans with {name} '{plans.get(name)}'", "expected a name as nnU-Net gives it", path)
    if not isinstance(member.dataset_json.get("labels"), dict):
        raise InputError("dataset.json without labels", "pack the model again", path)
    for named in _code_in(configurations):
        if not _is_network_code(named):
            raise InputError(f"plans that call '{named}', no network", "do not use this model", path)


def _code_in(configurations: Mapping[str, Any]) -> Iterator[str]:
    """Dotted names that nnU-Net imports for the networks of configurations."""
    for configuration in configurations.values():
        architecture = configuration.get("architecture") if isinstance(configuration, dict) else None
        if isinstance(architecture, dict):
            yield str(architecture.get("network_class_name"))
            values = architecture.get("arch_kwargs") or {}
            names = [values.get(key) for key in architecture.get("_kw_requires_import") or []]
            yield from (str(name) for name in names if name is not None)


def _is_network_code(name: str) -> bool:
    """Whether a dotted name is that of a network or layer in a library of networks; importing these runs nothing."""
    found = pydoc.locate(name) if name.startswith(_TRUSTED_CODE) else None
    return isinstance(found, type) and issubclass(found, nn.Module)


def _weights_bytes(weights: Weights, precision: str, path: Path) -> bytes:
    stored: dict[str, torch.Tensor] = {}
    first: dict[str, str] = {}
    aliases: dict[str, str] = {}
    for name in sorted(weights):
        key = weights_digest({"": weights[name]})
        if key in first:
            aliases[name] = first[key]
            continue
        first[key] = name
        tensor = weights[name].detach().cpu()
        if tensor.is_floating_point():
            tensor = tensor.to(PRECISIONS[precision])
            if torch.isinf(tensor).any() and not torch.isinf(weights[name]).any():
                raise InputError(f"{name} is beyond what float16 holds", "pack as float32", path)
        stored[name] = tensor.contiguous()
    return safetensors.torch.save(stored, {_ALIASES: json.dumps(aliases)})


def _rounded(member: Member, precision: str) -> Member:
    """A member with its weights as a package gives them back."""
    dtype = PRECISIONS[precision]
    folds = {
        fold: {name: v.to(dtype).float() if v.is_floating_point() else v for name, v in weights.items()}
        for fold, weights in member.folds.items()
    }
    return Member(**{**vars(member), "folds": folds})


def _read_json(archive: zipfile.ZipFile, name: str, path: Path) -> object:
    if archive.getinfo(name).file_size > _MAX_JSON_BYTES:
        raise InputError(f"{name} is {archive.getinfo(name).file_size} bytes long", "do not use this file", path)
    try:
        return json.loads(archive.read(name))
    except ValueError as error:
        raise InputError(f"{name} is not readable as JSON ({error})", _AGAIN, path) from error


def _json_bytes(content: object) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()


def _leaves(name: str) -> bool:
    parts = PurePosixPath(name.replace("\\", "/"))
    return parts.is_absolute() or ".." in parts.parts or ":" in name or "\\" in name


def _is_name(kind: str, value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(_NAMES[kind], value) is not None
