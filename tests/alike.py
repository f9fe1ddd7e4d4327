"""Results that were computed twice: the same but for rounding.

`torch.equal` is for files, copies, indices, masks, whole numbers and what a seeded generator draws,
and for the two renderers, which spell out every rounding. What went through a matrix product, a
convolution, attention or a linear solve differs in its last bits even for the same shapes and
weights: some BLAS libraries round by the alignment of their buffers (seen on an AMD EPYC, Zen 5),
others by the number of threads.
"""

import torch
from torch import Tensor

# Of the largest number. About a thousand roundings, which is what some steps of sampling with
# guidance make of one; what tests tell apart (another weight, anchor or pose) is ten times larger.
ROUNDING = {torch.float64: 1e-10, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 3e-2}
# Values that a rounding may move from the one to the other side of an edge, as in a picture.
AT_EDGES = 2e-3


def alike(one: Tensor, other: Tensor, at_edges: float = 0.0) -> bool:
    """Whether two tensors hold the same numbers but for rounding.

    Args:
        one: any shape.
        other: is of that shape and type, or they are not alike.
        at_edges: share of values that may differ by more.
    """
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if not one.is_floating_point():
        apart = one != other
    else:
        largest = max((float(each.abs().max()) for each in (one, other) if each.numel()), default=0)
        apart = ~((one - other).abs() <= ROUNDING[one.dtype] * largest)
    return int(apart.sum()) <= at_edges * apart.numel()


def alike_pictures(one: Tensor, other: Tensor) -> bool:
    """Whether two renderings, masks or depth maps are alike but for some pixels at edges."""
    return alike(one, other, AT_EDGES)


def assert_trained_alike(
    left: dict[str, Tensor], right: dict[str, Tensor], learning_rate: float
) -> None:
    """Two trainings of the same steps ended alike but for rounding.

    An optimiser that divides by the size of gradients enlarges rounding where they are small.
    Measured between two instruction sets (AVX2 with MKL, and ATEN_CPU_CAPABILITY=default with
    MKL_CBWR=COMPATIBLE), float32 weights came out 0.02 of a step apart after twelve steps and
    moments 0.02 of their size; in bf16, 3 % of the tensors by more than a tenth, those whose
    gradient is nothing but rounding. Momentum, noise or an order of clips that was not restored
    moves nearly all tensors by half a step and more.

    Args:
        left: weights, averages and an optimiser's state (`optimizer.safetensors: NAME`), by name.
        right: those of the other training.
        learning_rate: at its highest, which is how far a step moves a weight.
    """
    assert left.keys() == right.keys()
    apart = []
    for name, one in left.items():
        other = right[name]
        if name.endswith("exp_avg_sq"):
            one, other = one.sqrt(), other.sqrt()
        # AdamW adds 1e-8 to the size of a gradient: what is smaller moves nothing.
        of_moments = "optimizer" in name
        most = 0.1 * float(one.float().abs().mean()) + 1e-8 if of_moments else 0.1 * learning_rate
        if not (one.float() - other.float()).abs().mean() <= most:
            apart.append(name)
    assert len(apart) <= 0.05 * len(left), apart
