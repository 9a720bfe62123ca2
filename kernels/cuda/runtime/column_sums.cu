// Column sums of a matrix: bias gradients from the gradients of pre-activations.
//
// column_sums:       x [M,C] S -> sums [slices,C] f32, of `rows` rows each: rows of a slice are consecutive
// column_sums_join:  sums [slices,C] -> out [C] f32
//
// S is float or bf16. A block sums 32 columns of a slice, its 8 warps every eighth row each, in a fixed order: grid
// (ceil(C / 32), slices), 256 threads, shared 1024 bytes. Slices are what fills a GPU where columns are few; one slice
// needs no join. Join: a thread per column, grid ceil(C / 256), 256 threads.
#include "runtime/device.cuh"

template <class S>
DEVICE void column_sums(const S* x, float* sums, int M, int C, int rows) {
  SHARED(float, part);  // [8 warps][32 columns]
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, column = blockIdx.x * 32 + lane;
  const int begin = blockIdx.y * rows, end = M - begin < rows ? M : begin + rows;
  float sum = 0;
  if (column < C) {
#pragma unroll 4
    for (int row = begin + warp; row < end; row += 8) sum += to_float(x[(size_t)row * C + column]);
  }
  part[threadIdx.x] = sum;
  __syncthreads();  // every warp's share is there
  if (warp > 0 || column >= C) return;
  for (int w = 1; w < 8; w++) sum += part[w * 32 + lane];
  sums[(size_t)blockIdx.y * C + column] = sum;
}

KERNEL(column_sums_f32, 256, 4, const float* x, float* sums, int M, int C, int rows) {
  column_sums<float>(x, sums, M, C, rows);
}
KERNEL(column_sums_bf16, 256, 4, const u16* x, float* sums, int M, int C, int rows) {
  column_sums<u16>(x, sums, M, C, rows);
}

KERNEL(column_sums_join, 256, 8, const float* sums, float* out, int slices, int C) {
  const int column = blockIdx.x * blockDim.x + threadIdx.x;
  if (column >= C) return;
  float sum = sums[column];
  for (int slice = 1; slice < slices; slice++) sum += sums[(size_t)slice * C + column];
  out[column] = sum;
}
