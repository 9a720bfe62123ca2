// Sums over a block, in a fixed order.
#pragma once
#include "device.cuh"

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
