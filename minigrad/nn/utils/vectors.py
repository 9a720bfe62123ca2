"""All parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

from minigrad import ops
from minigrad.nn.checks import check_tensor, tensors_of
from minigrad.tensor import Tensor


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """The parameters' elements one after the other, (total,), recorded on the tape."""
    params = tensors_of("parameters_to_vector", "parameters", parameters)
    return ops.cat([param.reshape(-1) for param in params], 0)


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Write the elements of ``vec`` (total,) into the parameters in their order.

    Raises:
        ValueError: the vector has another number of elements than the parameters together.
    """
    check_tensor("vector_to_parameters", "vec", vec)
    targets = tensors_of("vector_to_parameters", "parameters", parameters)
    total = sum(param.numel() for param in targets)
    if vec.shape != (total,):
        raise ValueError(f"vector_to_parameters: vec has shape {tuple(vec.shape)}; expected ({total},)")
    values, start = vec.detach().array.copy(), 0
    for param in targets:
        param.data = Tensor(values[start : start + param.numel()].reshape(param.shape).astype(param.dtype))
        start += param.numel()
