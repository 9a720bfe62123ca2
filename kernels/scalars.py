"""The numbers of one step of an optimiser, which all elements and all backends share."""

from typing import NamedTuple

import numpy as np


class AdamScalars(NamedTuple):
    """What one step of Adam does with every element, see `kernels.reference.adam`. Made by `adam_scalars`."""

    shrink: float  # 1 - lr weight_decay if the decay is decoupled, else 1
    l2: float  # the weight decay if it enters the gradient, else 0
    beta1: float
    rest1: float  # 1 - beta1
    beta2: float
    rest2: float  # 1 - beta2
    step_size: float  # lr / (1 - beta1^step)
    root_correction: float  # (1 - beta2^step)^(-1/2)
    eps: float

    def rounded(self, dtype: np.dtype) -> "AdamScalars":
        """In the dtype of a parameter."""
        return AdamScalars(*map(dtype.type, self))


class SGDScalars(NamedTuple):
    """The options of gradient descent, see `kernels.reference.sgd`."""

    lr: float
    momentum: float = 0.0  # share of the velocity that is kept
    dampening: float = 0.0  # share of the gradient that stays out of the velocity, save for the first
    nesterov: bool = False  # the step is grad + momentum * velocity instead of velocity
    weight_decay: float = 0.0  # what param is multiplied with and added to the gradient


class RMSpropScalars(NamedTuple):
    """The options of RMSprop, see `kernels.reference.rmsprop`."""

    lr: float
    alpha: float  # decay of the running means
    eps: float  # added to the root
    weight_decay: float = 0.0  # what param is multiplied with and added to the gradient
    momentum: float = 0.0  # share of the velocity that is kept
