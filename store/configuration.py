"""The base of every configuration model: immutable, and an unknown key is an error."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A configuration value: cannot change once made, refuses keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")
