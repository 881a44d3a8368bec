"""Which files a bundle has, and how large they may be. Apart from what reads them, which needs numpy."""

from __future__ import annotations

MANIFEST = "manifest.json"
SIGNATURE = "manifest.json.sig"
MODEL_FILES = {"f16": "model.f16.tflite", "int8": "model.int8.tflite"}
"""Variant -> name of its file."""
MAX_MANIFEST_BYTES = 4 << 20
MAX_MODEL_BYTES = 64 << 20
