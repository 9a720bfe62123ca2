// Sums over a block, in a fixed order.
#pragma once
#include "runtime/device.cuh"

// The sum of x over the block, valid in thread 0. `warps` is shared memory for one number per warp.
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

// Each thread's number -> the sum of those of the threads below it; total: over all threads.
DEVICE u32 sum_below(u32 mine, u32* warps, u32& total) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  u32 upto = mine;
  for (int by = 1; by < 32; by *= 2) {
    const u32 other = shuffle_up(upto, by);
    if (lane >= by) upto += other;
  }
  if (lane == 31) warps[warp] = upto;
  __syncthreads();  // the warps' counts are there
  u32 below = upto - mine;
  total = 0;
  for (int w = 0; w < (int)blockDim.x / 32; w++) {
    if (w < warp) below += warps[w];
    total += warps[w];
  }
  return below;
}
