// Arrays of which each element is for itself: a block of 256 threads covers 1024, and none is seen twice.
#pragma once
#include "runtime/device.cuh"

constexpr int EACH = 4;  // elements of a thread, a block's width apart

// Calls body(i) for this thread's elements: grid ceil(size / 1024).
template <class Body>
DEVICE void for_elements(u64 size, Body body) {
  const u64 begin = (u64)blockIdx.x * blockDim.x * EACH + threadIdx.x;
#pragma unroll
  for (int k = 0; k < EACH; k++)
    if (begin + k * blockDim.x < size) body(begin + k * blockDim.x);
}
