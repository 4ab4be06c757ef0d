"""Turn one YAML file into running machines: build, deliver, watch."""

__version__ = "0.1.0"
