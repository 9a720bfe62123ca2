// RMSprop, in place.
//
//   rmsprop_step   grid ceil(size / 1024), 256 threads   param, square [size], mean (null: not centred) and velocity
//                                                        (null: no momentum) from grad [size]. rest = 1 - alpha
//   grad_scale [1] f32   what gradients are multiplied with where they are read; NaN: nothing is updated
//
// Every operation is rounded by itself, in the order of kernels/reference/rmsprop.py: the results are the processor's
// to the bit. Numbers are rounded to float32 by the host.
//
// Source: Hinton's lecture 6.5 (2012); Graves (2013), equations 38 to 41. Oracle: kernels/reference/rmsprop.py.
#include "runtime/device.cuh"

constexpr int EACH = 4;  // elements of a thread, a block's width apart

KERNEL(rmsprop_step, 256, 4, float* param, const float* grad, float* square, float* mean, float* velocity,
       const float* grad_scale, u64 size, float lr, float alpha, float rest, float eps, float weight_decay,
       float momentum) {
  const float scale = *grad_scale;
  if (scale != scale) return;
#pragma unroll
  for (int k = 0; k < EACH; k++) {
    const u64 i = ((u64)blockIdx.x * EACH + k) * blockDim.x + threadIdx.x;
    if (i >= size) continue;
    const float p = param[i];
    float g = times(grad[i], scale);
    if (weight_decay != 0.0f) g = plus(g, times(weight_decay, p));
    const float s = plus(times(alpha, square[i]), times(rest, times(g, g)));
    square[i] = s;
    float variance = s;
    if (mean) {
      const float m = plus(times(alpha, mean[i]), times(rest, g));
      mean[i] = m;
      variance = plus(s, -times(m, m));
    }
    float update = divide(g, plus(root(variance), eps));
    if (velocity) {
      update = plus(times(momentum, velocity[i]), update);
      velocity[i] = update;
    }
    param[i] = plus(p, -times(lr, update));
  }
}
