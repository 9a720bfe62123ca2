// Stochastic gradient descent, in place: of an array, with or without momentum, and of some rows of a table.
//
//   sgd_step        grid ceil(size / 1024), 256 threads   param, velocity [size] (null: no momentum) from grad [size];
//                                                         first: velocity is still to be set, to the gradient.
//                                                         taken = 1 - dampening
//   sgd_rows_step   grid R, 128 threads                   row rows[k] of param [V,E] from values [R,E]
//
//   grad_scale [1] f32   what gradients are multiplied with where they are read; NaN: nothing is updated
//   rows       [R] i64   distinct, in 0..V-1: another is left out, and *error = OUT_OF_RANGE
//
// Every operation is rounded by itself, in the order of kernels/reference/sgd.py: the results are the processor's to
// the bit. Numbers are rounded to float32 by the host.
//
// Source: Sutskever et al. (2013), in PyTorch's form. Oracle: kernels/reference/sgd.py.
#include "runtime/device.cuh"

constexpr int EACH = 4;  // elements of a thread, a block's width apart

KERNEL(sgd_step, 256, 4, float* param, const float* grad, float* velocity, const float* grad_scale,
       u64 size, int first, int nesterov, float lr, float momentum, float taken, float weight_decay) {
  const float scale = *grad_scale;
  if (scale != scale) return;
#pragma unroll
  for (int k = 0; k < EACH; k++) {
    const u64 i = ((u64)blockIdx.x * EACH + k) * blockDim.x + threadIdx.x;
    if (i >= size) continue;
    const float p = param[i];
    float g = times(grad[i], scale);
    if (weight_decay != 0.0f) g = plus(g, times(weight_decay, p));
    if (velocity) {
      const float v = first ? g : plus(times(momentum, velocity[i]), times(taken, g));
      velocity[i] = v;
      g = nesterov ? plus(g, times(momentum, v)) : v;
    }
    param[i] = plus(p, -times(lr, g));
  }
}

KERNEL(sgd_rows_step, 128, 8, float* param, const i64* rows, const float* values, const float* grad_scale, float lr,
       int V, int E, u32* error) {
  const i64 row = rows[blockIdx.x];
  if (!in_range(row, V, error)) return;
  const float scale = *grad_scale;
  if (scale != scale) return;
  for (int e = threadIdx.x; e < E; e += blockDim.x) {
    float& p = param[row * E + e];
    p = plus(p, -times(lr, times(values[(u64)blockIdx.x * E + e], scale)));
  }
}
