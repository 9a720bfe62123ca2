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
    "EmbeddingBag embedding_bag": "nn.Embedding(...)(ids).sum(1)",
    "ger": "torch.outer",
    "row_stack": "torch.vstack",
    "column_stack dstack": "torch.hstack, or torch.stack(tensors, -1) for vectors",
    "addmv addr": "bias + a @ b",
    "addcmul": "x + value * a * b",
    "addcdiv": "x + value * a / b",
    "erfc": "1 - torch.erf(x)",
    "kthvalue": "x.sort()[0][k - 1]",
    "quantile": "x.sort()[0][int(q * (n - 1))], without interpolation",
    "log10": "torch.log(x) / math.log(10)",
    "log2": "torch.log(x) / math.log(2)",
    "tile": "x.repeat(n, m)",
    "take_along_dim": "torch.gather(x, dim, index)",
    "broadcast_to": "x.expand(n, m)",
    "unflatten": "x.reshape(n, m)",
    "ravel": "x.reshape(-1)",
    "concat concatenate": "torch.cat",
    "ndimension": "x.dim()",
    "count_nonzero": "(x != 0).sum()",
    "bincount": "nn.functional.one_hot(x).sum(0)",
    "nan_to_num": "torch.where(torch.isnan(x), 0, x)",
    "bernoulli bernoulli_": "(torch.rand_like(x) < x).float()",
    "random_": "torch.randint(low, high, x.shape)",
    "unsqueeze_ squeeze_ transpose_ t_ resize_": "the function without the underscore, which gives a view",
    "cumprod": "x.log().cumsum(0).exp() for x above 0",
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
    "CyclicLR MultiplicativeLR": "optim.lr_scheduler.LambdaLR with the factor as a function of the epoch",
    "Adagrad Adadelta Adamax NAdam RAdam Rprop ASGD LBFGS Adafactor Muon": "optim.Adam, AdamW, RMSprop or SGD",
    "SparseAdam": "optim.Adam, which takes the gradient of nn.Embedding(..., sparse=True)",
    "trunc_normal_": "nn.init.normal_(w, std=std).clamp_(-2 * std, 2 * std)",
    "tensorboard SummaryWriter": "tensorboardX.SummaryWriter",
    "onnx export": "torch.save(model.state_dict(), path), a safetensors file",
}  # fmt: skip

REPLACEMENTS = {name: text for names, text in _BY_NAMES.items() for name in names.split()}
