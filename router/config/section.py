"""What all sections of the configuration have in common."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints, model_validator

NAME = r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$"
Name = Annotated[str, StringConstraints(pattern=NAME)]


class Section(BaseModel):
    """Common ground: unknown keys are errors, and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class SecretSettings(Section):
    """Where a secret is kept; it never stands in the file itself."""

    env: str | None = None
    """Environment variable that holds it."""
    file: Path | None = None
    """File that holds it."""

    @model_validator(mode="after")
    def _one_source(self) -> "SecretSettings":
        if (self.env is None) == (self.file is None):
            raise ValueError("give exactly one of env, file")
        return self
