// Column sums of a matrix: bias gradients from the gradients of pre-activations.
//
// column_sums:  x [M,C] S -> sums [C] f32
// S is float or bf16. A block sums 32 columns, its 8 warps every eighth row each, in a fixed order: grid ceil(C / 32),
// 256 threads, shared 1024 bytes.
#include "device.cuh"

template <class S>
DEVICE void column_sums(const S* x, float* sums, int M, int C) {
  SHARED(float, part);  // [8 warps][32 columns]
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, column = blockIdx.x * 32 + lane;
  float sum = 0;
  if (column < C) {
#pragma unroll 4
    for (int row = warp; row < M; row += 8) sum += to_float(x[(size_t)row * C + column]);
  }
  part[threadIdx.x] = sum;
  __syncthreads();  // every warp's share is there
  if (warp > 0 || column >= C) return;
  for (int w = 1; w < 8; w++) sum += part[w * 32 + lane];
  sums[column] = sum;
}

KERNEL(column_sums_f32, 256, 4, const float* x, float* sums, int M, int C) { column_sums<float>(x, sums, M, C); }
KERNEL(column_sums_bf16, 256, 4, const u16* x, float* sums, int M, int C) { column_sums<u16>(x, sums, M, C); }
