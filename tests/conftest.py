"""Shapes and types of every public signature are checked while testing, and only then."""

from jaxtyping import install_import_hook

install_import_hook(["anchorweave", "training", "inference"], "beartype.beartype")
