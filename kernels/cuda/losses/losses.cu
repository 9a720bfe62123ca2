// The two numbers around a loss that is a mean or a sum over rows, without the host.
//
//   count_targets   targets [M] i64 -> scale [1] f32: mean != 0: 1 / (rows whose target is not ignore_index), NaN where
//                   there is none; mean == 0: 1
//   sum_losses      loss [M] f32, scale [1] f32 -> out [1] f32, scale * the sum, which is in float64 and a fixed order
//
// One block: grid 1, 256 threads, shared 64 bytes. Oracle: kernels/reference/output_layer.py.
#include "runtime/sums.cuh"

KERNEL(count_targets, 256, 1, const i64* targets, i64 ignore_index, int M, int mean, float* scale) {
  SHARED(double, warps);
  double count = 0;
  for (int m = threadIdx.x; m < M; m += blockDim.x) count += targets[m] != ignore_index;
  count = block_sum(count, warps);
  if (threadIdx.x == 0) *scale = !mean ? 1.0f : count > 0 ? (float)(1 / count) : bits_to_float(0x7FC00000u);
}

KERNEL(sum_losses, 256, 1, const float* loss, const float* scale, int M, float* out) {
  SHARED(double, warps);
  double sum = 0;
  for (int m = threadIdx.x; m < M; m += blockDim.x) sum += loss[m];
  sum = block_sum(sum, warps);
  if (threadIdx.x == 0) *out = (float)(sum * *scale);
}
