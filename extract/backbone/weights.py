"""Finds, reads and checks the weights of a backbone; knows nothing of its forward pass."""

import contextlib
import hashlib
import os
import socket
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from pickle import UnpicklingError

import huggingface_hub.constants
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from icecore.store import Finding, UsageError

from .checkpoint import Checkpoint, is_spare, left_over, renamed, unwrapped


def local_weights(name: str) -> Path | None:
    """Return the file `weights/NAME.safetensors` of the package or of ICECORE_SHARED, or None.

    ICECORE_SHARED is `../shared` where it is unset. Local files come before the hub, so that the same command works
    without a network.
    """
    folders = Path(__file__).parents[1], Path(os.environ.get("ICECORE_SHARED", "../shared"))
    paths = [folder / "weights" / f"{name}.safetensors" for folder in folders]
    return next((path for path in paths if path.is_file()), None)


def read_checkpoint(path: str) -> Checkpoint:
    """Return the tensors of a .safetensors or .pth file, taken out of tables such as `state_dict`.

    Raises:
        UsageError: the file does not exist, or holds anything but tensors.
    """
    if not Path(path).is_file():
        raise UsageError(f"checkpoint {path!r}: no such file; expected a .safetensors or .pth file")
    try:
        if path.endswith(".safetensors"):
            return Checkpoint(safetensors.torch.load_file(path))
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UsageError(f"checkpoint {path!r}: cannot be read as weights alone ({reason})") from None
    state, notes = unwrapped(state)
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UsageError(f"checkpoint {path!r}: holds no table of tensors; expected a state dict with timm's names")
    return Checkpoint(state, notes)


def load_weights(
    model: nn.Module, checkpoint: Checkpoint, classifier: Sequence[str], where: str
) -> tuple[Finding, ...]:
    """Copy a checkpoint into a model, without classifier and other tensors that no layer passes through.

    Returns:
        notes about prefixes taken off the names and tensors left over.

    Raises:
        UsageError: a tensor is lacking, has another shape, or belongs to another architecture.
    """
    wanted = model.state_dict()
    renamed_checkpoint = renamed(checkpoint.tensors, wanted, where)
    kept = {name: tensor for name, tensor in renamed_checkpoint.tensors.items() if not _belongs(name, classifier)}
    spare = sorted(name for name in kept if name not in wanted and is_spare(model, name))
    kept = {name: tensor for name, tensor in kept.items() if name not in spare}
    problems = [
        *_listed("lacks", [name for name in wanted if name not in kept]),
        *_listed("has unknown", [name for name in kept if name not in wanted]),
        *_listed("has other shapes for", [n for n in kept if n in wanted and kept[n].shape != wanted[n].shape]),
    ]
    if problems:
        raise UsageError(f"{where}: {'; '.join(problems)}; expected the weights of this backbone by timm's names")
    model.load_state_dict(kept)
    return (*checkpoint.notes, *renamed_checkpoint.notes, *left_over(spare))


def weights_sha256(model: nn.Module, classifier: Sequence[str]) -> str:
    """Return the SHA-256 of all tensors but the classifier's: names, types, shapes and bytes, sorted by name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if not _belongs(name, classifier):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


@contextlib.contextmanager
def fail_fast_offline() -> Iterator[None]:
    """Use only the local cache of the Hugging Face hub where the hub cannot be reached, without a minute of retries."""
    before = huggingface_hub.constants.HF_HUB_OFFLINE
    huggingface_hub.constants.HF_HUB_OFFLINE = before or not _hub_is_near()
    try:
        yield
    finally:
        huggingface_hub.constants.HF_HUB_OFFLINE = before


def _hub_is_near() -> bool:
    if urllib.request.getproxies():
        return True  # behind a proxy only a real request shows whether the hub answers
    endpoint = urllib.parse.urlparse(huggingface_hub.constants.ENDPOINT)
    port = endpoint.port or (80 if endpoint.scheme == "http" else 443)
    try:
        socket.create_connection((endpoint.hostname, port), timeout=5).close()
    except OSError:
        return False
    return True


def _belongs(name: str, classifier: Sequence[str]) -> bool:
    return any(name.startswith(f"{prefix}.") for prefix in classifier)


def _listed(what: str, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return [f"{what} {', '.join(names[:3])}{more}"]
