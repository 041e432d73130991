"""A pipeline with the parsed settings of its stages, so that a wrong setting is an error before any work starts."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..options.settings import parse_settings
from .pipelines import Pipeline, load_pipeline

if TYPE_CHECKING:
    from icecore.extract import ExtractSettings
    from icecore.train import SelectSettings, TrainSettings


@dataclass(frozen=True, slots=True)
class Plan:
    """A pipeline, the file that it was read from, and the settings of its stages."""

    file: Path
    pipeline: Pipeline
    extract: "ExtractSettings"
    train: "TrainSettings"
    select: "SelectSettings"


def make_plan(file: Path, name: str) -> Plan:
    """Read a pipeline and parse the settings of its stages.

    Raises:
        UsageError: the pipeline cannot be read, or a setting is wrong; the message names its key.
    """
    from icecore.extract import ExtractSettings
    from icecore.train import SelectSettings, TrainSettings

    pipeline = load_pipeline(file, name)
    where = f"{file}: {name}"
    return Plan(
        file,
        pipeline,
        parse_settings(ExtractSettings, pipeline.extract, lambda key: f"{where}.extract.{key}"),
        parse_settings(TrainSettings, pipeline.train, lambda key: f"{where}.train.{key}"),
        parse_settings(SelectSettings, pipeline.select, lambda key: f"{where}.select.{key}"),
    )
