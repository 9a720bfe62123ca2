// Inverted dropout with a counter-based mask that is never stored: the backward is the same call on dy.
//
// dropout:  x [size] S -> y [size] S (may be x itself), elements start .. start + size - 1 of the site's mask
// S is float or bf16. A thread makes four elements from one Philox block: grid ceil(size / 1024) + 1 (a start inside a
// block of four needs one thread more), 256 threads, no shared memory, no barrier.
//
// Source: Srivastava et al. (2014). Oracle: kernels/reference/dropout.py.
#include "layers/random.cuh"

template <class S>
DEVICE void dropout(const S* x, S* y, const Key* key, Dropout how, u64 start, u64 size) {
  const u64 block = start / 4 + (u64)blockIdx.x * blockDim.x + threadIdx.x;
  if (block * 4 >= start + size) return;
  const Words words = philox((u32)block, how.site, *key);
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const u64 element = block * 4 + i;
    if (element >= start && element < start + size)
      put(y + (element - start), apply(how, words.word[i], to_float(x[element - start])));
  }
}

#define DROPOUT(suffix, S)                                                                                             \
  KERNEL(dropout_##suffix, 256, 8, const S* x, S* y, const Key* key, u64 threshold, float scale, u32 site, u64 start, \
         u64 size) {                                                                                                  \
    dropout<S>(x, y, key, {threshold, scale, site}, start, size);                                                     \
  }
DROPOUT(f32, float)
DROPOUT(bf16, u16)
