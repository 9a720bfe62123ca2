// The norm of all gradients of a model and what clipping multiplies them with, in two launches, without the host.
//
//   sum_of_squares     grid g, 256 threads, shared 64 bytes   -> partial [g] f64, the sum of squares of each chunk
//   clip_coefficient   grid 1, 256 threads, shared 64 bytes   partial [count] f64
//                      -> norm [2] f32: the total norm, min(1, max_norm / (norm + 1e-6))
//
// The table of tensors: tensors.cuh. Sums run in float64 (a gradient of 1e20 does not overflow them) and in an order
// that depends on the table only: two runs agree bit by bit. A NaN gives a NaN norm and coefficient; an infinity gives
// an infinite norm and the coefficient 0, and infinity * 0 is NaN: the host should look at norm[0].
//
// Source: Pascanu, Mikolov and Bengio (2013). Oracle: kernels/reference/clipping.py.
#include "tensors.cuh"

// The sum of x over the block, valid in thread 0.
DEVICE double block_sum(double x, double* warps) {
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) x += shuffle_xor(x, mask);
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = x;
  __syncthreads();  // the warps' sums are there
  double sum = 0;
  if (threadIdx.x == 0)
    for (unsigned w = 0; w < blockDim.x / 32; w++) sum += warps[w];
  return sum;
}

KERNEL(sum_of_squares, 256, 4, const Tensor* tensors, const Chunk* chunks, double* partial) {
  SHARED(double, warps);
  const Share share = share_of_block(tensors, chunks);
  double sum = 0;
  for (u64 i = share.begin + threadIdx.x; i < share.end; i += blockDim.x) {
    const double g = share.tensor.grad[i];
    sum += g * g;
  }
  sum = block_sum(sum, warps);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

KERNEL(clip_coefficient, 256, 1, const double* partial, int count, float max_norm, float* norm) {
  SHARED(double, warps);
  double sum = 0;
  for (int i = threadIdx.x; i < count; i += blockDim.x) sum += partial[i];
  sum = block_sum(sum, warps);
  if (threadIdx.x == 0) {
    const double length = sqrt(sum), coefficient = max_norm / (length + 1e-6);
    norm[0] = (float)length;
    norm[1] = coefficient > 1.0 ? 1.0f : (float)coefficient;  // NaN stays NaN
  }
}
