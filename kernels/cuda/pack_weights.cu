// Brings a recurrent matrix into the order of a kernel's registers, rounded to its type: pack_weights of pack.py.
//
// pack_weights_bf16, _f16:  weight [4H,H] f32, order [words][2] i32 (flat indices into weight, or -1 for a zero)
//                           -> packed [words] u32, the first of the two in the lower half
// pack_weights_tf32:        the same with order [words]
// One thread per word: grid ceil(words / 256), 256 threads, no shared memory, no barrier.
#include "pack.cuh"

#define PACK_WEIGHTS(name, S)                                                                                       \
  KERNEL(pack_weights_##name, 256, 8, const float* weight, const int* order, u32* packed, int words) {              \
    const int word = blockIdx.x * blockDim.x + threadIdx.x;                                                         \
    if (word < words) packed[word] = word_of(weight, order + (size_t)word * (4 / sizeof(S)), S());                  \
  }
PACK_WEIGHTS(bf16, u16)
PACK_WEIGHTS(f16, f16)
PACK_WEIGHTS(tf32, float)
