"""``torch.backends``: the switches that programs set for cuDNN. Here every run is deterministic."""

from types import SimpleNamespace

cudnn = SimpleNamespace(enabled=False, deterministic=True, benchmark=False, is_available=lambda: False)
