// Adam and AdamW, in place: of all parameters of a model, of some rows of a table, and of rows that missed steps.
//
//   adam_step_all    grid g, 256 threads    all tensors of the table (tensors.cuh)
//   adam_rows_step   grid R, 128 threads    row rows[k] of param, m, v [V,E] from values [R,E]
//   adam_replay      grid R, 128 threads    steps first[k]..S-1 of history [S] without a gradient, on row rows[k]
//
//   scalars    [1] Scalars   what `adam_scalars` gives, rounded to float32, in device memory: a captured graph needs no
//                            new arguments, the host rewrites 36 bytes per step
//   grad_scale [1] f32       what gradients are multiplied with where they are read; norm + 1 of clipping.cu. NaN:
//                            nothing is updated, which is how a step is skipped without the host
//   rows       [R] i64       distinct, in 0..V-1: another is left out, and *error = OUT_OF_RANGE
//   first      [R] i64       in 0..S
//
// Every operation is rounded by itself, in the order of kernels/reference/adam.py, so that a row which is brought up to
// date later has the same bits as one that was updated at every step, and the same as on the processor. (CuPy compiles
// with -ftz=true, under which numbers below 1.2e-38 become 0: this file is to be compiled without.)
//
// Source: Kingma and Ba (2015), algorithm 1; Loshchilov and Hutter (2019) for the decoupled weight decay.
#include "updates/tensors.cuh"

struct Scalars {
  float shrink, l2, beta1, rest1, beta2, rest2, step_size, root_correction, eps;
};

// One step of one element with gradient g.
DEVICE void update(float& param, float g, float& m, float& v, const Scalars& s) {
  if (s.l2 != 0.0f) g = plus(g, times(s.l2, param));
  m = plus(times(s.beta1, m), times(s.rest1, g));
  v = plus(times(s.beta2, v), times(times(s.rest2, g), g));
  const float step = divide(times(s.step_size, m), plus(times(root(v), s.root_correction), s.eps));
  param = plus(times(s.shrink, param), -step);
}

KERNEL(adam_step_all, 256, 4, const Tensor* tensors, const Chunk* chunks, const Scalars* scalars,
       const float* grad_scale) {
  const Share share = share_of_block(tensors, chunks);
  const Tensor& tensor = share.tensor;
  const Scalars s = *scalars;
  const float scale = *grad_scale;
  if (scale != scale) return;
  for (u64 i = share.begin + threadIdx.x; i < share.end; i += blockDim.x) {
    float param = tensor.param[i], m = tensor.m[i], v = tensor.v[i];
    update(param, times(tensor.grad[i], scale), m, v, s);
    tensor.param[i] = param, tensor.m[i] = m, tensor.v[i] = v;
  }
}

KERNEL(adam_rows_step, 128, 8, float* param, const i64* rows, const float* values, float* m, float* v,
       const Scalars* scalars, const float* grad_scale, int V, int E, u32* error) {
  if (!in_range(rows[blockIdx.x], V, error)) return;
  const Scalars s = *scalars;
  const float scale = *grad_scale;
  if (scale != scale) return;
  const size_t row = (size_t)rows[blockIdx.x] * E;
  for (int e = threadIdx.x; e < E; e += blockDim.x)
    update(param[row + e], times(values[(size_t)blockIdx.x * E + e], scale), m[row + e], v[row + e], s);
}

KERNEL(adam_replay, 128, 8, float* param, float* m, float* v, const i64* rows, const i64* first,
       const Scalars* history, int S, int V, int E, u32* error) {
  if (!in_range(rows[blockIdx.x], V, error) || !in_range(first[blockIdx.x], (i64)S + 1, error)) return;
  const size_t row = (size_t)rows[blockIdx.x] * E;
  for (int e = threadIdx.x; e < E; e += blockDim.x) {
    float p = param[row + e], mean = m[row + e], square = v[row + e];
    for (int step = (int)first[blockIdx.x]; step < S; step++) update(p, 0.0f, mean, square, history[step]);
    param[row + e] = p, m[row + e] = mean, v[row + e] = square;
  }
}
