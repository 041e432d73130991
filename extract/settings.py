"""The settings of an extraction, and the command line that states them."""

import json
import shlex
from typing import Literal

from pydantic import Field, JsonValue, field_validator

from icecore.store import ComputeDtype, Frozen, option_words

from .decoding.words import read_background, read_bands, read_range
from .labels.columns import Columns, TargetKind


class SourceSettings(Frozen):
    """The settings of a source: which images, the meaning of its columns, and how files become pixels.

    `extract` and every other command that reads a source take all of them.
    """

    img_size: int | None = Field(default=None, ge=1)
    crop_pct: float | None = Field(default=None, gt=0, le=1)
    range: Literal["auto", "type"] | tuple[float, float] = "auto"
    background: tuple[int, int, int] | None = None
    bands: tuple[int, ...] | None = None
    path_column: str | None = None
    label_column: tuple[str, ...] = ()
    split_column: str | None = None
    group_column: str | None = None
    target: TargetKind = "class"
    separator: str | None = None
    unknown: tuple[str, ...] = ()
    split: tuple[str, ...] = ()
    limit: int | None = Field(default=None, ge=1)

    @property
    def preprocessing(self) -> dict[str, JsonValue]:
        """Changes to the backbone's own preprocessing, under timm's names."""
        given: dict[str, JsonValue] = {"img_size": self.img_size, "crop_pct": self.crop_pct}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def columns(self) -> Columns:
        """The names of the source's columns, and how their values are read."""
        return Columns(
            label=self.label_column,
            split=self.split_column,
            group=self.group_column,
            target=self.target,
            path=self.path_column,
            separator=self.separator,
            unknown=self.unknown,
        )

    _read_range = field_validator("range", mode="before")(read_range)
    _read_background = field_validator("background", mode="before")(read_background)
    _read_bands = field_validator("bands", mode="before")(read_bands)


class ExtractSettings(SourceSettings):
    """The `extract` block of a pipeline; the options of `icecore extract` have the same names."""

    backbone: str
    checkpoint: str | None = None
    layers: str = "all"
    tokens: str = "all"
    dtype: str = "int8"
    compute_dtype: ComputeDtype = "auto"
    views: int = Field(default=1, ge=1)
    augment: str | None = None
    batch_size: int = Field(default=32, ge=1)
    device: str = "auto"
    strict: bool = False
    retry_failed: bool = False
    shard_rows: int | None = Field(default=None, ge=1)
    compressor: str | None = None
    num_threads: int | None = Field(default=None, ge=1)
    stream_blocks: bool = False
    workers: int | None = Field(default=None, ge=1)
    scheduler: str | None = None

    @field_validator("augment", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        return json.dumps(value) if isinstance(value, list) else value


def command_line(source: str, store: str, settings: ExtractSettings) -> str:
    """Return the `icecore extract` command with these settings; the same command resumes an interrupted extraction.

    >>> command_line("shapes:count", "a.ice", ExtractSettings(backbone="icecore_nano", layers="0,3"))
    'icecore extract shapes:count a.ice --backbone icecore_nano --layers 0,3'
    """
    return shlex.join(["icecore", "extract", source, store, *option_words(settings.model_dump(exclude_defaults=True))])


def parse_command(command: str) -> tuple[str, ExtractSettings]:
    """Return the source and the settings of a command line that `command_line` made."""
    words = shlex.split(command)
    source, options = words[2], words[4:]
    values: dict[str, object] = {}
    while options:
        name = options.pop(0).removeprefix("--").replace("-", "_")
        default = ExtractSettings.model_fields[name].default
        value = True if default is False else options.pop(0)
        values[name] = tuple(str(value).split(",")) if default == () else value
    return source, ExtractSettings.model_validate(values)
