// Brings a recurrent matrix into the order of a kernel's registers, rounded to its type: pack_weights of pack.py.
//
// pack_weights_bf16:  weight [4H,H] f32, order [words][2] i32 (flat indices into weight, or -1 for a zero)
//                     -> packed [words] u32, the first of the two in the lower half
// One thread per word: grid ceil(words / 256), 256 threads, no shared memory, no barrier.
#include "device.cuh"

DEVICE float element(const float* weight, int at) { return at < 0 ? 0.0f : weight[at]; }

KERNEL(pack_weights_bf16, 256, 8, const float* weight, const int* order, u32* packed, int words) {
  const int word = blockIdx.x * blockDim.x + threadIdx.x;
  if (word >= words) return;
  const u32 lower = to_bf16(element(weight, order[2 * word])), upper = to_bf16(element(weight, order[2 * word + 1]));
  packed[word] = upper << 16 | lower;
}
