"""Train `icecore_nano`: a pruned DeiT-Tiny for 64 x 64 images, distilled from the real one through an icecore store.

The teacher runs once over the training images, by icecore itself, and is never needed again:

    icecore extract parquet:../shared/data/tiny-imagenet/train.parquet teacher.ice --backbone deit_tiny_patch16_224 \
        --checkpoint ../shared/weights/deit_tiny_patch16_224.safetensors --layers 4,8,12 --tokens pool:2 --dtype int8
    python examples/pretrain_nano.py teacher.ice runs/nano

The student begins as the teacher at half scale, pruned: patches of 8 pixels for 16, 9 of 12 blocks, 448 of 768 hidden
units (the output of every MLP fitted again by least squares). Then it learns the teacher's soft labels, its tokens, and
the labels. Started again it goes on from OUT/checkpoint.pt, with other --steps or --rows too.
"""

import argparse
import json
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import timm
import torch
import torch.nn.functional as F
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.data.imagenet_info import ImageNetInfo
from timm.layers.config import set_fused_attn
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor, nn

from icecore.extract import open_source
from icecore.store import open_store

SHARED = Path(os.environ.get("ICECORE_SHARED", "../shared"))
TEACHER = SHARED / "weights" / "deit_tiny_patch16_224.safetensors"
LAYERS = {3: 4, 6: 8, 9: 12}  # of the student, of the teacher
BLOCKS = (0, 1, 2, 3, 5, 6, 8, 9, 10)  # of the teacher, that the student begins with: it misses the others least
HIDDEN = 448  # of 768 units in an MLP


def read_images(split: str) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Return the images of a split as bytes (24,000 x 3 x 64 x 64 are 295 MB), their labels and the class names."""
    source = open_source(f"parquet:{SHARED / 'data' / 'tiny-imagenet' / split}.parquet")
    images = np.stack([np.asarray(source.decode(source.read(row))) for row in range(len(source.samples))])
    labels = torch.tensor([-1 if sample.label is None else sample.label for sample in source.samples])
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), labels, source.classes


@dataclass(frozen=True, slots=True)
class Data:
    """What is held in memory of the first rows: images, and what is to be learned of them."""

    images: Tensor  # uint8
    labels: Tensor
    tokens: dict[int, Tensor]  # the teacher's, by layer of the student; half
    logits: Tensor  # the teacher's; half
    columns: Tensor  # of the 200 classes, among the 1,000


def read_data(teacher: str, num_rows: int, state: dict[str, Tensor], device: str) -> Data:
    """Read the images and the teacher's store."""
    images, labels, classes = read_images("train")
    store = open_store(teacher)
    parts = [slice(start, min(start + 2000, num_rows)) for start in range(0, num_rows, 2000)]
    tokens = {k: torch.cat([store.layer(j).rows(part).half() for part in parts]) for k, j in LAYERS.items()}
    cls = F.layer_norm(tokens[9][:, 0].float(), (192,), state["norm.weight"], state["norm.bias"], eps=1e-6)
    logits = F.linear(cls, state["head.weight"], state["head.bias"]).half()
    names = ImageNetInfo("imagenet-1k").label_names()
    return Data(images, labels, tokens, logits, torch.tensor([names.index(name) for name in classes], device=device))


def half_scale(state: dict[str, Tensor]) -> Any:
    """Return the teacher for 64 x 64 images: what it would say of the image enlarged to 128 x 128, but faster."""
    model = timm.create_model("deit_tiny_patch16_224", img_size=64, patch_size=8)
    enlarge = F.interpolate(torch.eye(64).view(64, 1, 8, 8), scale_factor=2, mode="bicubic").flatten(1)  # 64 256
    kernel = state["patch_embed.proj.weight"].flatten(2) @ enlarge.T
    positions = resample_abs_pos_embed(state["pos_embed"], [8, 8], num_prefix_tokens=1)
    model.load_state_dict({**state, "patch_embed.proj.weight": kernel.unflatten(2, (8, 8)), "pos_embed": positions})
    return model.eval()


def strongest_units(covariance: Tensor, weight: Tensor, keep: int) -> Tensor:
    """Return the hidden units, chosen one by one, that together explain the most of an MLP's output."""
    units: list[int] = []
    residual, output = covariance.clone(), covariance @ weight.T  # what the chosen units leave unexplained
    for _ in range(keep):
        explained = output.square().sum(1) / residual.diagonal().clamp_min(1e-6)
        explained[units] = -1.0
        unit = int(explained.argmax())
        units.append(unit)
        share = residual[:, unit] / residual[unit, unit].clamp_min(1e-6)
        output -= torch.outer(share, output[unit].clone())
        residual -= torch.outer(share, residual[unit].clone())
    return torch.tensor(sorted(units))


def prune_mlp(mlp: Any, hidden: Tensor, keep: int) -> None:
    """Keep some hidden units, and fit the output to what it was on `hidden` (row unit)."""
    mean, covariance = hidden.mean(0), torch.cov(hidden.T)
    units = strongest_units(covariance, mlp.fc2.weight, keep)
    ridge = 1e-3 * covariance.diagonal().mean() * torch.eye(keep)
    weight = torch.linalg.solve(covariance[units][:, units] + ridge, covariance[units] @ mlp.fc2.weight.T).T
    mlp.fc2.bias += mlp.fc2.weight @ mean - weight @ mean[units]
    mlp.fc2.weight = nn.Parameter(weight)
    mlp.fc1.weight, mlp.fc1.bias = nn.Parameter(mlp.fc1.weight[units]), nn.Parameter(mlp.fc1.bias[units])


@torch.no_grad()
def pruned(teacher: Any, images: Tensor) -> dict[str, Tensor]:
    """Return the student's first weights, its 1,000-class classifier included."""
    blocks: list[Any] = [teacher.blocks[block] for block in BLOCKS]
    caught: list[Tensor] = []
    tokens = torch.cat([teacher._pos_embed(teacher.patch_embed(part)) for part in images.split(64)])
    for block in blocks:  # one after the other: each is fitted to what those before it have become
        handle = block.mlp.act.register_forward_hook(lambda _, __, hidden: caught.append(hidden.flatten(0, 1)))
        run_block(block, tokens)
        handle.remove()
        prune_mlp(block.mlp, torch.cat(caught).float(), HIDDEN)
        caught.clear()
        tokens = run_block(block, tokens)
    teacher.blocks = nn.Sequential(*blocks)
    return teacher.state_dict()


def run_block(block: Any, tokens: Tensor) -> Tensor:
    """Return the tokens after a block, in parts that fit the cache."""
    with torch.autocast("cpu", torch.bfloat16):
        return torch.cat([block(part) for part in tokens.split(64)])


class Student(nn.Module):
    """The backbone, its classifier, and a linear map to the teacher's tokens at some layers."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone: Any = timm.create_model("icecore_nano", num_classes=1000)
        maps = [nn.Linear(192, 192) for _ in LAYERS]
        for linear in maps:
            nn.init.eye_(linear.weight)
        self.maps = nn.ModuleList(maps)

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the logits, and the tokens by layer as the teacher's (batch token width)."""
        options = {"indices": [k - 1 for k in LAYERS], "output_fmt": "NLC", "return_prefix_tokens": True}
        final, middle = self.backbone.forward_intermediates(images, **options)
        tokens = [torch.cat([prefix, patches], dim=1) for patches, prefix in middle]
        return self.backbone.forward_head(final), [m(t) for m, t in zip(self.maps, tokens, strict=True)]


class Augment:
    """One random crop and flip an image, the same for its pixels and for a grid of tokens over it."""

    def __init__(self, num: int, generator: torch.Generator, smallest: float = 0.7) -> None:
        scale, x, y, flip, self.gain, self.shift = torch.rand(6, num, generator=generator)
        scale = smallest + (1 - smallest) * scale
        flip = torch.where(flip < 0.5, -1.0, 1.0)
        zero = torch.zeros(num)
        rows = torch.stack([scale * flip, zero, (2 * x - 1) * (1 - scale), zero, scale, (2 * y - 1) * (1 - scale)], 1)
        self.theta = rows.view(num, 2, 3)

    def crop(self, grid: Tensor, size: int) -> Tensor:
        """Return `size` x `size` samples of a crop (batch channel height width)."""
        where = F.affine_grid(self.theta.to(grid.device), [len(grid), 1, size, size], align_corners=False)
        return F.grid_sample(grid, where, padding_mode="border", align_corners=False)

    def colour(self, images: Tensor) -> Tensor:
        """Change contrast and brightness by up to 30 and 20 percent."""
        gain, shift = ((v.to(images.device) * 2 - 1).view(-1, 1, 1, 1) for v in (self.gain, self.shift))
        return (images - 128) * (1 + 0.3 * gain) + 128 * (1 + 0.2 * shift)

    def tokens(self, tokens: Tensor) -> Tensor:
        """Return the teacher's 7 x 7 tokens as the student's 8 x 8, CLS as it is."""
        grid = self.crop(tokens[:, 1:].mT.unflatten(2, (7, 7)), 8)
        return torch.cat([tokens[:, :1], grid.flatten(2).mT], dim=1)


def token_loss(ours: Tensor, theirs: Tensor) -> Tensor:
    """Return the squared error of normalised tokens: 0 the same, 2 unrelated."""
    return F.mse_loss(F.layer_norm(ours.float(), (192,)), F.layer_norm(theirs, (192,)))


def learning_rate(done: float, peak: float) -> float:
    """Warm up over 5 percent, then half a cosine; `done` is the share of the training behind us."""
    return peak * min(done / 0.05, 0.5 + 0.5 * math.cos(math.pi * done))


@torch.no_grad()
def top1(student: Student, images: Tensor, labels: Tensor, columns: Tensor, device: str) -> float:
    """Return the accuracy among the 200 classes."""
    hits = 0
    for part, label in zip(images.split(250), labels.split(250), strict=True):
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            logits = student.backbone(normalised(part.to(device).float()))[:, columns]
        hits += int((logits.argmax(1).cpu() == label).sum())
    return hits / len(labels)


def normalised(images: Tensor) -> Tensor:
    """Return images of 0..255 as the backbone takes them."""
    moments = torch.tensor([IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD], device=images.device).view(2, 3, 1, 1) * 255
    return (images - moments[0]) / moments[1]


def save(student: Student, optimizer: torch.optim.Optimizer, step: int, out: Path) -> None:
    """Write the checkpoint, and the weights that are shipped: float16, no classifier."""
    state = {"student": student.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
    torch.save(state, out / "checkpoint.tmp")
    (out / "checkpoint.tmp").rename(out / "checkpoint.pt")
    shipped = {n: t.half().cpu() for n, t in student.backbone.state_dict().items() if not n.startswith("head.")}
    safetensors.torch.save_file(shipped, out / "icecore_nano.safetensors", {"license": "Apache-2.0", "format": "pt"})


def loss(student: Student, data: Data, rows: Tensor, augment: Augment, device: str) -> Tensor:
    """Return the three parts: soft labels, labels, tokens."""
    inputs = normalised(augment.colour(augment.crop(data.images[rows].to(device).float(), 64)))
    with torch.autocast(torch.device(device).type, torch.bfloat16):
        ours, middle = student(inputs)
    theirs = data.logits[rows].to(device).float()
    soft = F.kl_div(ours.float().log_softmax(1), theirs.softmax(1), reduction="batchmean")
    hard = F.cross_entropy(ours.float()[:, data.columns], data.labels[rows].to(device), label_smoothing=0.1)
    targets = [augment.tokens(data.tokens[layer][rows].to(device).float()) for layer in LAYERS]
    match = sum(token_loss(a, b) for a, b in zip(middle, targets, strict=True))
    return torch.stack([soft, hard, torch.as_tensor(match)])


def batch_rows(step: int, size: int, num_rows: int, seed: int) -> Tensor:
    """Return the rows of a batch: a function of the step alone, so that a resumed training sees the same."""
    epoch, batch = divmod(step, num_rows // size)
    order = torch.randperm(num_rows, generator=torch.Generator().manual_seed(seed + epoch))
    return order[batch * size : (batch + 1) * size]


def begin(out: Path, seed: int, device: str, state: dict[str, Tensor]) -> tuple[Student, torch.optim.Optimizer, int]:
    """Return the student, its optimizer and the number of steps done: from the checkpoint, else from the teacher."""
    student = Student().to(device)
    decayed, free = ([p for p in student.parameters() if (p.ndim > 1) == matrix] for matrix in (True, False))
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.05}, {"params": free, "weight_decay": 0.0}])
    if (out / "checkpoint.pt").exists():
        saved = torch.load(out / "checkpoint.pt", map_location=device)
        student.load_state_dict(saved["student"])
        optimizer.load_state_dict(saved["optimizer"])
        return student, optimizer, saved["step"]
    images = read_images("train")[0]
    some = images[torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:1024]]
    student.backbone.load_state_dict(pruned(half_scale(state), normalised(some.float())))
    return student, optimizer, 0


def train(options: argparse.Namespace) -> None:
    """Train or go on training; prints a line of JSON every 50 steps."""
    device, state = options.device, safetensors.torch.load_file(TEACHER)
    options.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(options.seed)
    set_fused_attn(device != "cpu")  # its backward is a third of a step on a CPU
    student, optimizer, step = begin(options.out, options.seed, device, state)
    data, validation = read_data(options.teacher, options.rows, state, device), read_images("val")[:2]
    if step == 0:
        print(json.dumps({"step": 0, "top1": top1(student, *validation, data.columns, device)}), flush=True)
    started, sums = time.monotonic(), torch.zeros(3)
    while step < options.steps:
        rows = batch_rows(step, options.batch_size, options.rows, options.seed)
        augment = Augment(len(rows), torch.Generator().manual_seed(options.seed * 1_000_003 + step))
        parts = loss(student, data, rows, augment, device)
        optimizer.zero_grad()
        (parts * torch.tensor([1, 0.5, 1], device=device)).sum().backward()
        nn.utils.clip_grad_norm_(student.parameters(), 5.0)
        step += 1
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step / options.steps, options.lr)
        optimizer.step()
        sums += parts.detach().cpu()
        if step % 50 == 0 or step == options.steps:
            save(student, optimizer, step, options.out)
            losses, seconds = [round(total / 50, 4) for total in sums.tolist()], round(time.monotonic() - started)
            line = {"step": step, "losses": losses, "seconds": seconds}
            if step % 200 == 0 or step == options.steps:
                line["top1"] = top1(student, *validation, data.columns, device)
            print(json.dumps(line), flush=True)
            sums.zero_()


def main() -> None:  # noqa: D103
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("teacher", help="the store of the teacher's tokens")
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--rows", type=int, default=24_000, help="the first of the store: it may be unfinished")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
