"""Which of YAML, label, image and default decides each field, and a record of who did.

Precedence is per field: the YAML entry, then the image's label ``org.mobyproject.config``, then (for command, env and
cwd) the image's own config, then the default. A field replaces, it does not merge; only ``binds.add`` and
``capabilities.add`` append to the label's list, and only if the YAML does not replace that list.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from provisioner.model.document import Document
from provisioner.model.spec import ImageConfig, ImageEntry

YAML, LABEL, IMAGE, DEFAULT = "yaml", "label", "image", "default"
ADDED = "label+yaml"


@dataclass(slots=True)
class Choice:
    """The fields of one container. ``origins`` tells for each field asked for so far who decided it."""

    entry: ImageEntry
    label: ImageConfig
    origins: dict[str, str] = field(default_factory=dict)

    def pick(self, name: str, default: Any) -> Any:
        """Return the field ``name`` of the model; a source whose value is the model's default says nothing."""
        silence = ImageConfig.model_fields[name].default
        for source, document in ((YAML, self.entry), (LABEL, self.label)):
            value: Any = getattr(document, name)
            if value != silence:
                return self._decided(name, source, value)
        return self._decided(name, DEFAULT, default)

    def pick_or_image(self, name: str, from_image: Any, default: Any) -> Any:
        """Return the field, or what the image's config says, or the default."""
        value = self.pick(name, from_image or default)
        if self.origins[name] == DEFAULT and from_image:
            self.origins[name] = IMAGE
        return value

    def pick_list(self, name: str) -> tuple[str, ...]:
        """Return a list that has an ``.add`` form: the YAML's, or the label's with what the YAML adds."""
        added: tuple[str, ...] | None = getattr(self.entry, f"{name}_add")
        chosen: tuple[str, ...] = self.pick(name, ())
        if getattr(self.entry, name) is None and added:
            self.origins[name] = ADDED if chosen else YAML
            return chosen + added
        return chosen

    def owner(self, name: str) -> Document:
        """Return the document that decided ``name``, for the place of an error."""
        return self.label if self.origins.get(name) == LABEL else self.entry

    def key(self, name: str) -> str:
        """Return the key that decided ``name`` as spelled in files: ``binds.add`` where the YAML appends."""
        alias = ImageConfig.model_fields[name].alias or name
        added = getattr(self.entry, name) is None and getattr(self.entry, f"{name}_add", None)
        return f"{alias}.add" if added else alias

    def _decided(self, name: str, source: str, value: Any) -> Any:
        self.origins[name] = source
        return value
