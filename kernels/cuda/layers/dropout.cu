// Inverted dropout with a counter-based mask that is never stored: the backward is the same call on dy.
//
// dropout:  x [size] f32 -> y [size] f32 (may be x itself), elements start .. start + size - 1 of the site's mask:
//           one whose word is at least threshold = p * 2^32 is kept, times scale = 1 / (1 - p), or 0 for p = 1
// A thread makes four elements from one Philox block: grid ceil(size / 1024) + 1 (a start inside a block of four needs
// one thread more), 256 threads, no shared memory, no barrier.
//
// Source: Srivastava et al. (2014). Oracle: kernels/reference/dropout.py.
#include "layers/random.cuh"

KERNEL(dropout, 256, 8, const float* x, float* y, const Key* key, u64 threshold, float scale, u32 site, u64 start,
       u64 size) {
  const u64 block = start / 4 + (u64)blockIdx.x * blockDim.x + threadIdx.x;
  if (block * 4 >= start + size) return;
  const Words words = philox((u32)block, site, *key);
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const u64 element = block * 4 + i;
    if (element < start || element >= start + size) continue;
    const float factor = words.word[i] >= threshold ? scale : 0.0f;  // times 0, so that a NaN is not swallowed
    y[element - start] = times(x[element - start], factor);
  }
}
