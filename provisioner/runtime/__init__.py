"""An image and its YAML entry into a runtime bundle: ``config.json`` (OCI runtime spec) and ``runtime.json``.

    bundle(entry, image, ids=spec.ids(), volumes={…}) -> Bundle
    to_json(bundle.config)                               text as Go writes it, byte for byte
"""

from provisioner.runtime.bundle import Bundle, bundle, id_number
from provisioner.runtime.gojson import to_json

__all__ = ["Bundle", "bundle", "id_number", "to_json"]
