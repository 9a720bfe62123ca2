// The norm of all gradients of a model and what clipping multiplies them with, in two launches, without the host.
//
//   sum_of_squares     grid g, 256 threads, shared 64 bytes   -> partial [g] f64, the sum of squares of each chunk
//   sum_of_squares_one the same of one array x [size], g = ceil(size / CHUNK), without a table
//   clip_coefficient   grid 1, 256 threads, shared 64 bytes   partial [count] f64
//                      -> norm [2] f32: the total norm, min(1, max_norm / (norm + 1e-6))
//
// The table of tensors: tensors.cuh. Sums run in float64 (a gradient of 1e20 does not overflow them) and in an order
// that depends on the table only: two runs agree bit by bit. A NaN gives a NaN norm and coefficient; an infinity gives
// an infinite norm and the coefficient 0, and infinity * 0 is NaN: the host should look at norm[0].
//
// Source: Pascanu, Mikolov and Bengio (2013). Oracle: kernels/reference/clipping.py.
#include "runtime/sums.cuh"
#include "updates/tensors.cuh"

// The sum of squares of this thread's share of begin .. end - 1.
DEVICE double squares(const float* x, u64 begin, u64 end) {
  double sum = 0;
  for (u64 i = begin + threadIdx.x; i < end; i += blockDim.x) sum += (double)x[i] * x[i];
  return sum;
}

KERNEL(sum_of_squares, 256, 4, const Tensor* tensors, const Chunk* chunks, double* partial) {
  SHARED(double, warps);
  const Share share = share_of_block(tensors, chunks);
  const double sum = block_sum(squares(share.tensor.grad, share.begin, share.end), warps);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

KERNEL(sum_of_squares_one, 256, 4, const float* x, u64 size, double* partial) {
  SHARED(double, warps);
  const u64 begin = (u64)blockIdx.x * CHUNK, end = begin + CHUNK < size ? begin + CHUNK : size;
  const double sum = block_sum(squares(x, begin, end), warps);
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
