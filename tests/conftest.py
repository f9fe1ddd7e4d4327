"""Shapes and types of every public signature are checked while testing, and only then."""

import os

from jaxtyping import install_import_hook

# Before torch looks for it. All tests but those of tests/gpu compare with what a CPU computes, and
# those need the card for themselves; they are asked for by name, as scripts/test.sh does.
if "TEST_GPU" not in os.environ:
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

install_import_hook(["anchorweave", "training", "inference"], "beartype.beartype")
