// Random words, the same on every backend: word i of the output belongs to element i of a site (random.cuh).
//
// random_bits:  out [count] u32. A thread writes the four words of a block: grid ceil(count / 1024), 256 threads.
//
// Oracle: kernels/reference/random.py.
#include "layers/random.cuh"

KERNEL(random_bits, 256, 8, u32* out, const Key* key, u32 site, u64 count) {
  const u64 block = (u64)blockIdx.x * blockDim.x + threadIdx.x;
  if (block * 4 >= count) return;
  const Words words = philox((u32)block, site, *key);
#pragma unroll
  for (int i = 0; i < 4; i++)
    if (block * 4 + i < count) out[block * 4 + i] = words.word[i];
}
