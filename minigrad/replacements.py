"""What stands in for names of PyTorch that are not here, as one would write it in a program."""

from __future__ import annotations

# Names (of any namespace) -> how to do without. ``torch`` is minigrad, ``x`` a tensor, ``n`` a size.
_BY_NAMES: dict[str, str] = {
    "RMSNorm rms_norm": "x / (x.square().mean(-1, keepdim=True) + eps).sqrt()",
    "SiLU silu": "x * torch.sigmoid(x)",
    "GLU glu": "a * torch.sigmoid(b) with a, b = x.chunk(2, -1)",
    "Hardtanh hardtanh": "torch.clamp(x, -1, 1)",
    "LogSigmoid logsigmoid": "-nn.functional.softplus(-x)",
    "multi_head_attention_forward": "nn.MultiheadAttention(...)(query, key, value)",
    "Transformer TransformerEncoder TransformerDecoder": (
        "a loop over nn.TransformerEncoderLayer and nn.TransformerDecoderLayer"
    ),
    "KLDivLoss kl_div": "(target * (target.log() - input)).sum(-1).mean()",
    "SmoothL1Loss smooth_l1_loss HuberLoss huber_loss": (
        "torch.where(d < 1, d * d / 2, d - 0.5).mean() with d = torch.abs(x - y)"
    ),
    "EmbeddingBag embedding_bag": "nn.Embedding(...)(ids).sum(1)",
    "outer ger": "a.unsqueeze(1) * b",
    "hstack": "torch.cat(tensors, 1), or 0 for vectors",
    "vstack row_stack": "torch.cat(tensors, 0), or torch.stack(tensors, 0) for vectors",
    "diag diagonal": "x[torch.arange(n), torch.arange(n)]",
    "trace": "x[torch.arange(n), torch.arange(n)].sum()",
    "median": "x.sort()[0][(n - 1) // 2]",
    "roll": "torch.cat([x[-n:], x[:-n]])",
    "narrow": "x[start:start + length]",
    "lerp": "a + weight * (b - a)",
    "addmm": "bias + a @ b",
    "cumprod": "x.log().cumsum(0).exp() for x above 0",
    "finfo iinfo": "numpy.finfo(x.dtype), numpy.iinfo(x.dtype)",
    "set_default_dtype get_default_dtype": "dtype= where a tensor is made; float32 is the default",
    "set_printoptions": "numpy.set_printoptions",
    "DistributedSampler": "utils.data.Subset(dataset, range(rank, len(dataset), ranks))",
    "get_rng_state set_rng_state fork_rng": "torch.random.get_state(), torch.random.set_state(state)",
    "compile jit script trace_module": "the function as it is: the kernels under it are compiled",
    "GradScaler amp": "backward() as it is: bfloat16 needs no scaling",
    "DataParallel distributed": "torch.set_num_threads(n): one process uses all cores",
    "register_backward_hook": "register_full_backward_hook",
    "register_post_accumulate_grad_hook": "x.register_hook(hook), which is called before",
    "register_module_forward_hook register_module_forward_pre_hook register_module_full_backward_hook": (
        "each of model.modules() with register_forward_hook and its like"
    ),
    "get_submodule get_parameter": "dict(model.named_modules())[name], dict(model.named_parameters())[name]",
    "OneCycleLR CyclicLR CosineAnnealingWarmRestarts PolynomialLR ConstantLR MultiplicativeLR": (
        "optim.lr_scheduler.LambdaLR with the factor as a function of the epoch"
    ),
    "SequentialLR ChainedScheduler": "optim.lr_scheduler.LambdaLR with all parts in one function",
    "Adagrad Adadelta Adamax NAdam RAdam Rprop ASGD LBFGS Adafactor Muon": "optim.Adam, AdamW, RMSprop or SGD",
    "SparseAdam": "optim.Adam, which takes the gradient of nn.Embedding(..., sparse=True)",
    "trunc_normal_": "nn.init.normal_(w, std=std).clamp_(-2 * std, 2 * std)",
    "tensorboard SummaryWriter": "tensorboardX.SummaryWriter",
    "onnx export": "torch.save(model.state_dict(), path), a safetensors file",
}  # fmt: skip

REPLACEMENTS = {name: text for names, text in _BY_NAMES.items() for name in names.split()}
